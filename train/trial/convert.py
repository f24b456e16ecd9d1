"""shipped checkpoint -> the form with both ends on grids, exactly; blocks left out are dropped."""

import math, torch
from cxr_train.checkpoint import read_tensors
from cxr_train.models import WindowDenoisingAutoencoder


def told_old(t, level):
    x = torch.cat([level * 10, torch.log(level + 0.003) / 3 + 1], dim=1)
    h = torch.relu(x @ t["level_stem.0.weight"].T + t["level_stem.0.bias"])
    return h @ t["level_stem.2.weight"].T + t["level_stem.2.bias"]


def convert(path, enc, dec, widths=(32, 64, 96, 96), coarse=1.0, spread=True, low=0.006, high=0.14):
    t, header = read_tensors(path)
    t = {k.removeprefix("model."): v for k, v in t.items()}
    m = WindowDenoisingAutoencoder(widths, enc, dec)
    new = m.state_dict()
    lv = torch.exp(torch.linspace(math.log(low), math.log(high), 400))[:, None]
    lv = torch.cat([lv, torch.full((10, 1), 0.003)])
    f = told_old(t, lv)
    mean = f.mean(0)
    u, s, vh = torch.linalg.svd(f - mean, full_matrices=False)
    B = vh[:4]
    coef = (f - mean) @ B.T
    sc = coef.abs().amax(0) / 1.9
    old = t["stem.weight"]
    w = torch.zeros(32, 16, 3, 3)
    w[:, :4] = old[:, :4] / 4
    w[:, 4:8] = old[:, 4:] / 4
    w[:, 8:12] = old[:, 4:] * (coarse / 4)
    told = (B * sc[:, None]).T
    if spread:
        w[:, 12:] = told[:, :, None, None] / 9
    else:
        w[:, 12:, 1, 1] = told
    b = t["stem.bias"] + mean + old[:, :4].sum((1, 2, 3)) / 2
    for k in new:
        if k in t and t[k].shape == new[k].shape:
            new[k] = t[k]
    new["encoder.stem.weight"], new["encoder.stem.bias"] = w, b
    W2, b2 = t["level_stem.2.weight"], t["level_stem.2.bias"]
    new["level_stem.2.weight"] = (B @ W2) / sc[:, None]
    new["level_stem.2.bias"] = (B @ (b2 - mean)) / sc
    new["encoder.entering.log_step"] = torch.tensor(math.log(4 / 255))
    new["drawn.log_step"] = torch.tensor(math.log(3.2 / 128))
    missing = [k for k in new if k not in t and not k.startswith(("encoder.stem", "encoder.entering", "drawn"))]
    print("not in old:", missing)
    m.load_state_dict(new)
    assert m.COARSE == coarse, "set COARSE of the class"
    return m


if __name__ == "__main__":
    import sys, importlib.util, numpy as np
    from pathlib import Path

    p = Path("/work/main/weights/window/checkpoint.safetensors")
    m = convert(p, (1, 2, 2, 1), (2, 2, 1)).eval()
    spec = importlib.util.spec_from_file_location("old", "/work/tmp/orig/models_shipped.py")
    o = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(o)
    t, h = read_tensors(p)
    print(list(t)[:3], h.keys())
    old = o.WindowDenoisingAutoencoder()
    old.load_state_dict({k.removeprefix("model."): v for k, v in t.items()})
    old.eval()
    g = torch.Generator().manual_seed(0)
    clean = torch.nn.functional.interpolate(
        torch.rand(1, 1, 16, 16, generator=g), size=(192, 192), mode="bicubic"
    ).clamp(0, 1)
    for lev in (0.01, 0.03, 0.11):
        n = (clean + 2 * lev * clean.sqrt() * torch.randn(clean.shape, generator=g)).clamp(0, 1)
        with torch.no_grad():
            a, b = old(n, torch.tensor([lev])), m(n, torch.tensor([lev]))
        i = (a - b)[..., 48:-48, 48:-48]
        print(i.abs().max().item() * 255, i.abs().mean().item() * 255, end=" ")
        print(lev, (a - b).abs().max().item() * 255, (a - n).abs().mean().item() * 255)
