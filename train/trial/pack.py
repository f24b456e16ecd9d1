import cv2, json, numpy as np, os
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from cxr_train.data import find_xrays, XrayImages
from cxr_infer.mottle import estimate_mottle
from cxr_infer.intensity import to_unit

out = Path("/work/main/.pack/img")
out.mkdir(parents=True, exist_ok=True)
f = find_xrays(Path("/work/shared/data/nih"))
train = f.require("train")
val = XrayImages(f.require("val"), 512)
files = [p for p in train if "512" in p.parts]
big = [p for p in train if "1024" in p.parts]
rng = np.random.default_rng(5)
jobs = [(p, f"a{i:03d}") for i, p in enumerate(files)]
take = [big[i] for i in sorted(rng.permutation(len(big))[:54])]
jobs += [(p, f"b{i:03d}") for i, p in enumerate(take)]
im = XrayImages([p for p, _ in jobs])
cv2.setNumThreads(1)


def one(i):
    x = im[i]
    name = jobs[i][1]
    cv2.imwrite(str(out / f"{name}.webp"), x, [cv2.IMWRITE_WEBP_QUALITY, 101])
    return name, estimate_mottle(to_unit(x)).level


with ThreadPoolExecutor(2) as pool:
    levels = dict(pool.map(one, range(len(jobs))))
json.dump(levels, open(out.parent / "levels.json", "w"))
count = 16
for i in range(count):
    cv2.imwrite(str(out / f"v{i:03d}.webp"), val[i * len(val) // count], [cv2.IMWRITE_WEBP_QUALITY, 101])
