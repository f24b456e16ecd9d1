import sys; sys.path[:0]=['/work/tmp/tr/src' if len(sys.argv)<2 else sys.argv[1],'/work/tmp/gpu']
import torch
from cxr_train.models import WindowDenoisingAutoencoder
from cxr_train.quantise import quantised, calibrate
print(torch.__version__)
torch.manual_seed(0)
m=WindowDenoisingAutoencoder((32,64,96,96),(1,1,1,0),(2,1,1))
n=torch.rand(2,1,64,64); l=torch.tensor([.05,.1]); calibrate(m,n,l); m.train()
def grads(f,on):
    m.zero_grad()
    with quantised(m,on=on): out=f(n,l)
    (out**2).mean().backward()
    return out.detach(), {k:(None if p.grad is None else p.grad.clone()) for k,p in m.named_parameters()}
fast=torch.compile(m,dynamic=False,backend='aot_eager')
for on in (True,False):
    a,ga=grads(m,on); b,gb=grads(fast,on)
    print(on,(a-b).abs().max().item(), (a-n).abs().max().item())
    for k in ('encoder.stem.weight','head.weight','encoder.entered.log_step'): print(k,ga[k] is not None and ga[k].norm().item(),gb[k] is not None and gb[k].norm().item())
