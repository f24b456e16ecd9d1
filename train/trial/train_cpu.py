import sys, os, json, math, time

sys.path[:0] = ["/work/tmp/wt", "/work/tmp/wt/train", "/work/tmp/wt/export", "/work/tmp/trial"]
import torch
from dataclasses import replace
from pathlib import Path
import cxr_train

print(cxr_train.__file__)
from cxr_train.config import DEFAULTS
from cxr_train.data import find_xrays
from cxr_train.loop import train
from cxr_train.checkpoint import read_tensors, write_tensors, CheckpointInfo, save_checkpoint
from cxr_train.models import WindowDenoisingAutoencoder
from cxr_train.quantise import Quantiser, calibrate
from convert import convert

E = os.environ.get
ENC, DEC = json.loads(E("ENC", "[1,2,1,0]")), json.loads(E("DEC", "[2,1,1]"))
OUT = E("OUT")


def start():
    m = convert(Path("/work/main/weights/window/checkpoint.safetensors"), ENC, DEC, coarse=2.0)
    if E("FROM") == "gpu":
        g = read_tensors(Path("average.safetensors"))[0]
        s = m.state_dict()
        s.update(g)
        if ENC[1] == 2:
            for k in ("weight", "bias"):
                s[f"encoder.stages.1.1.second.{k}"] = torch.zeros_like(s[f"encoder.stages.1.1.second.{k}"])
        m.load_state_dict(s)
        from cxr_train.data import XrayImages
        from cxr_train.samples import WindowSamples

        cfg = replace(DEFAULTS["window"], batch=24, crop=192, pairs=3, seed=78)
        f = find_xrays(Path("/work/shared/data/nih"))
        b = WindowSamples(XrayImages([p for p in f.require("train") if "512" in p.parts][:60]), cfg).batch(0)
        keep = ("encoder.entering", "drawn", "encoder.stages.1.1.change")
        for n, q in m.named_modules():
            if isinstance(q, Quantiser) and n not in keep:
                q.log_step.data.zero_()
        calibrate(m, b.noisy, b.level)
    h = read_tensors(Path("/work/main/weights/window/checkpoint.safetensors"))[1]
    p = Path(OUT + "_start.safetensors")
    save_checkpoint(p, m.state_dict(), CheckpointInfo(**{**h, "arguments": m.arguments}))
    return p


def main():
    resume = bool(E("RESUME"))
    p = None if resume else start()
    cfg = replace(
        DEFAULTS["window"],
        arguments={"widths": [32, 64, 96, 96], "encoder_blocks": ENC, "decoder_blocks": DEC},
        start=p and str(p),
        teacher=E("TEACHER", "/work/main/weights/window/model.onnx") or None,
        minutes=float(E("MIN")),
        batch=6,
        crop=192,
        pairs=1,
        pair_weight=0.45,
        quantised_share=float(E("SHARE", ".92")),
        learning_rate=float(E("LR", "3e-4")),
        final_learning_rate=5e-6,
        warmup=150,
        ema=float(E("EMA", ".999")),
        validate_every=int(E("VE", "800")),
        validate_images=4,
        save_every=180,
        seed=int(E("SEED", "5")),
    )
    t0 = time.time()

    def on_step(pr):
        if pr.step % 50 == 0 or (pr.metrics and pr.step % cfg.validate_every == 0):
            print(
                f"{time.time() - t0:6.0f} step {pr.step} loss {pr.loss:.4f} frac {pr.fraction:.3f}",
                {k: round(v, 3) for k, v in (pr.metrics or {}).items()} if pr.step % cfg.validate_every == 0 else "",
                flush=True,
            )

    train(cfg, find_xrays(Path("/work/shared/data/nih")), Path(OUT), resume=resume, on_step=on_step)


if __name__ == "__main__":
    main()
