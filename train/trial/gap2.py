import sys; sys.path.insert(0, str(Path(__file__).parent))
import torch, numpy as np, math
from pathlib import Path
from val import convert, find_xrays, XrayImages, to_unit, noisy_validation, estimate_mottle, psnr_of_mse
from cxr_train.quantise import Quantiser, QuantisedConv, quantised
p=Path('/work/tmp/weights_window_checkpoint.safetensors')
m=convert(p,(1,2,2,1),(2,2,1)).eval()
f=find_xrays(Path('/work/shared/data/nih')); V=XrayImages(f.require('val'),512)
cs=[to_unit(V[i*len(V)//16]) for i in (0,8)]; D=[]
for w in (20.,200.):
    for i,c in zip((0,8),cs):
        n=noisy_validation(c,w,i); D.append((w,c,torch.from_numpy(n)[None,None],torch.tensor([estimate_mottle(n).level],dtype=torch.float32)))
def psnr(w0):
    with torch.no_grad(): return np.mean([psnr_of_mse(float(((m(n,l)[0,0].numpy()-c)**2).mean())) for w,c,n,l in D if w==w0])

def off(names):
    with quantised(m):
        for n,q in m.named_modules():
            if n in names: q.on=False
        r=psnr(20.)-full[0],psnr(200.)-full[1]
    return r

for kw in (dict(coarse=3.,spread=False,low=.003,high=.2),dict(coarse=3.),dict(coarse=2.),dict(coarse=1.5),dict(coarse=1.)):
    m=convert(p,(1,2,2,1),(2,2,1),**kw).eval()
    a=psnr(20.),psnr(200.)
    with quantised(m): b=psnr(20.),psnr(200.)
    full=b; print(kw,'fp32 %.3f %.3f'%a,'int8 %.3f %.3f'%b,'gap %.3f %.3f'%(a[0]-b[0],a[1]-b[1]),'stem w %.3f %.3f'%off(['encoder.stem']),'enter %.3f %.3f'%off(['encoder.entering']),flush=True)
