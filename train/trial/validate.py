import sys, numpy as np, torch
from pathlib import Path

pass
from convert import convert
from cxr_train.checkpoint import read_tensors
from cxr_train.data import find_xrays, XrayImages
from cxr_infer.intensity import to_unit
from cxr_infer.metrics import psnr_of_mse
from cxr_infer.mottle import estimate_mottle
from cxr_train.tasks import noisy_validation
from cxr_train.quantise import quantised


def val(model, count=16, doses=(20.0, 71.0, 200.0, 600.0, 0.0), ons=(False, True), tag="", of=16):
    f = find_xrays(Path("/work/shared/data/nih"))
    V = XrayImages(f.require("val"), 512)
    row = []
    for on in ons:
        for w in doses:
            g = []
            for i in list(range(of))[:: of // count]:
                c = to_unit(V[i * len(V) // of])
                n = noisy_validation(c, w, i) if w else c
                lv = torch.tensor([estimate_mottle(n).level], dtype=torch.float32)
                with torch.no_grad(), quantised(model, on=on):
                    d = model(torch.from_numpy(n)[None, None], lv)[0, 0].numpy()
                g.append(psnr_of_mse(float(np.mean((d - c) ** 2, dtype=np.float64))))
            row.append(np.mean(g))
    print(tag, " ".join(f"{v:.3f}" for v in row), flush=True)
    return row


def load(path, enc=(1, 1, 1, 0), dec=(2, 1, 1)):
    from cxr_train.models import WindowDenoisingAutoencoder

    m = WindowDenoisingAutoencoder((32, 64, 96, 96), enc, dec)
    m.load_state_dict(read_tensors(Path(path))[0])
    return m.eval()


if __name__ == "__main__":
    torch.set_num_threads(2)
    c = convert(Path("/work/main/weights/window/checkpoint.safetensors"), (1, 1, 1, 0), (2, 1, 1)).eval()
    a = load("average.safetensors")
    for (n, p), (_, q) in zip(a.named_parameters(), c.named_parameters()):
        if "log_step" in n:
            print(f"{n:45s} {q.exp().item():.5f} {p.exp().item():.5f} ratio {(p - q).exp().item():.2f}")
    val(a, 4, tag="avg")
    val(c, 4, tag="converted")
