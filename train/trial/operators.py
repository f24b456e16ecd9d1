import sys, json, numpy as np, onnxruntime as ort, time
from statistics import median
def sess(m,t=1,prof=False):
    o=ort.SessionOptions(); o.intra_op_num_threads=t; o.add_session_config_entry("session.intra_op.allow_spinning","0")
    if prof: o.enable_profiling=True; o.profile_file_prefix='/tmp/prof'
    return ort.InferenceSession(m,o,providers=['CPUExecutionProvider'])
x={"noisy":np.random.default_rng(0).random((1,1,1024,1024),dtype=np.float32),"noise_level":np.array([.06],np.float32)}
ms=sys.argv[1:]
S={(m,t):sess(m,t) for m in ms for t in (1,2)}
ref=None
for m in ms:
    y=S[m,1].run(None,x)[0]; ref=y if ref is None else ref; print(m,'max diff',abs(y-ref).max())
R={}
for r in range(5):
    for k,s in S.items():
        t=time.perf_counter(); s.run(None,x); R.setdefault(k,[]).append((time.perf_counter()-t)/1.0486*1e3)
for k,v in R.items(): print(k,f'{median(v):.1f} min {min(v):.1f}')
for m in ms:
    s=sess(m,1,True)
    for _ in range(4): s.run(None,x)
    agg={}
    for e in json.load(open(s.end_profiling())):
        if e['cat']=='Node' and e['name'].endswith('kernel_time'):
            k=(e['args']['op_name'],str(list(e['args'].get('output_type_shape',[{}])[0].values())[:1])); a=agg.setdefault(k,[0,0]); a[0]+=e['dur']/4e3/1.0486; a[1]+=1/4
    print(m,'total',sum(a[0] for a in agg.values()))
    for k,a in sorted(agg.items(),key=lambda i:-i[1][0]):
        if k[0] in ('QLinearConv','QLinearAdd') : continue
        if a[0]>.7: print(f'{a[0]:6.2f} x{a[1]:.0f}',*k)
