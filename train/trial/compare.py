import sys

sys.path[:0] = ["/work/main", "/work/main/train"]
from pathlib import Path
import numpy as np
from benchmarks.detail import contrast_kept, flat_field
from benchmarks.quality import by_dose, other_noise, add_noise
from cxr_infer import load_model
from cxr_infer.settings import Settings
from cxr_infer.intensity import to_unit
from cxr_infer.metrics import psnr, ssim
from cxr_train.data import find_xrays, XrayImages

V = XrayImages(find_xrays(Path("/work/shared/data/nih")).require("val"), 512)
ims = [to_unit(V[i * len(V) // 16]) for i in range(16)]
P = {
    "S int8": "bench/S/window/model.int8.onnx",
    "T int8": "bench/T/window/model.int8.onnx",
    "S fp32": "/work/main/weights/window/model.onnx",
    "T fp32": "bench/T/window/model.onnx",
}
noises = {**by_dose(), **other_noise()}
print(list(noises))
for k, p in P.items():
    m = load_model(Path(p))
    f = lambda x, m=m: m.denoise_unit(x, Settings())
    g = lambda x, w=None, m=m: m.denoise_unit(x, Settings())
    ck = contrast_kept(ims[:10], g, 70.83)
    print(
        k,
        {a: round(b, 3) for a, b in ck.items()},
        {a: round(float(b), 3) for a, b in flat_field(g, 70.83).items()},
        flush=True,
    )
    for n, N in noises.items():
        if "wrap" in n:
            continue
        r = []
        for i, c in enumerate(ims[:8]):
            try:
                x = add_noise(N, n, str(i), c)
            except Exception as e:
                print(n, e)
                break
            d = f(x)
            r.append((psnr(c, d), ssim(c, d)))
        if r:
            print("   %-45s %.2f %.4f" % (n, *np.mean(r, 0)), flush=True)
