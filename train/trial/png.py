import time, zlib, struct, cv2, numpy as np
from statistics import median
from isal import isal_zlib
from zlib_ng import zlib_ng
from pathlib import Path
from cxr_infer import load_model, denoise
from cxr_infer.picture import PNG_OPTIONS
cv2.setNumThreads(1)
fs=sorted(Path('/work/shared/data/nih/1024/val').glob('*.png'))[:4]
imgs=[]
import os
for i,f in enumerate(fs):
    p=Path(f'/work/tmp/gpu/den{i}.png')
    if not p.exists():
        x=cv2.imread(str(f),0); rng=np.random.default_rng(i); n=np.clip(np.round(rng.poisson(x/255*71)/71*255),0,255).astype(np.uint8)
        r=denoise(n); cv2.imwrite(str(p), (np.rint(np.asarray(r.image if hasattr(r,'image') else r)*255)).astype(np.uint8) if np.asarray(r.image if hasattr(r,'image') else r).dtype!=np.uint8 else np.asarray(r.image if hasattr(r,'image') else r))
    imgs.append(cv2.imread(str(p),0))
print(imgs[0].shape, imgs[0].std())
def filt_avg(x):
    h,w=x.shape
    out=np.empty((h,w+1),np.uint8); out[:,0]=3
    up=np.zeros_like(x); up[1:]=x[:-1]
    left=np.zeros_like(x); left[:,1:]=x[:,:-1]
    out[:,1:]=x-((up&left)+((up^left)>>1))
    return out
def filt_up(x):
    out=np.empty((x.shape[0],x.shape[1]+1),np.uint8); out[:,0]=2
    out[0,1:]=x[0]; np.subtract(x[1:],x[:-1],out=out[1:,1:]); return out
def filt_sub(x):
    out=np.empty((x.shape[0],x.shape[1]+1),np.uint8); out[:,0]=1
    out[:,1]=x[:,0]; np.subtract(x[:,1:],x[:,:-1],out=out[:,2:]); return out
def paeth(x):
    a=np.zeros(x.shape,np.int16); a[:,1:]=x[:,:-1]; b=np.zeros(x.shape,np.int16); b[1:]=x[:-1]; c=np.zeros(x.shape,np.int16); c[1:,1:]=x[:-1,:-1]
    p=a+b-c; pa=abs(p-a); pb=abs(p-b); pc=abs(p-c)
    pr=np.where((pa<=pb)&(pa<=pc),a,np.where(pb<=pc,b,c))
    out=np.empty((x.shape[0],x.shape[1]+1),np.uint8); out[:,0]=4; out[:,1:]=(x-pr).astype(np.uint8); return out
def chunk(t,d): return struct.pack('>I',len(d))+t+d+struct.pack('>I',isal_zlib.crc32(t+d) if False else zlib.crc32(d,zlib.crc32(t)))
def png(x,f,comp):
    d=comp(f(x).tobytes()); h,w=x.shape
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR',struct.pack('>IIBBBBB',w,h,8,0,0,0,0))+chunk(b'IDAT',d)+chunk(b'IEND',b'')
def zs(level,strat):
    def c(b):
        o=zlib.compressobj(level,zlib.DEFLATED,15,9,strat); return o.compress(b)+o.flush()
    return c
def zng(level,strat):
    def c(b):
        o=zlib_ng.compressobj(level,zlib_ng.DEFLATED,15,9,strat); return o.compress(b)+o.flush()
    return c
ways={'cv2 now':lambda x:cv2.imencode('.png',x,PNG_OPTIONS)[1].tobytes()}
for fn,f in (('avg',filt_avg),('up',filt_up),('sub',filt_sub)):
    ways[f'isal0 {fn}']=lambda x,f=f:png(x,f,lambda b:isal_zlib.compress(b,0))
    ways[f'isal1 {fn}']=lambda x,f=f:png(x,f,lambda b:isal_zlib.compress(b,1))
    ways[f'zng1 {fn}']=lambda x,f=f:png(x,f,zng(1,0))
    ways[f'zng1rle {fn}']=lambda x,f=f:png(x,f,zng(1,3))
    ways[f'zng1huff {fn}']=lambda x,f=f:png(x,f,zng(1,2))
ways['zlib huff avg']=lambda x:png(x,filt_avg,zs(1,zlib.Z_HUFFMAN_ONLY))
ways['isal1 paeth']=lambda x:png(x,paeth,lambda b:isal_zlib.compress(b,1))
ways['isal2 avg']=lambda x:png(x,filt_avg,lambda b:isal_zlib.compress(b,2))
res={}
for r in range(5):
    for n,w in ways.items():
        for x in imgs:
            t=time.thread_time(); b=w(x); t=time.thread_time()-t
            res.setdefault(n,[]).append((t/x.size*1e9,len(b)*8/x.size))
            if r==0: assert (cv2.imdecode(np.frombuffer(b,np.uint8),-1)==x).all(),n
for n,v in res.items(): print(f'{n:16s} {median(a for a,_ in v):6.2f} ms/MP {np.mean([b for _,b in v]):.3f} bits')
t=time.thread_time(); [filt_avg(x) for x in imgs]; print('filter avg',(time.thread_time()-t)/4/1.0486*1e3)
raw=filt_avg(imgs[0]).tobytes(); c=zlib.compress(raw,6)
for n,d in (('zlib',zlib.decompress),('isal',isal_zlib.decompress),('zng',zlib_ng.decompress)):
    t=time.thread_time(); [d(c) for _ in range(5)]; print('inflate',n,(time.thread_time()-t)/5/1.0486*1e3)
