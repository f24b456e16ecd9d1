import json, math, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
import importlib.util
import cv2, numpy as np, torch
from torch import nn
from torch.utils.data import DataLoader

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train"), str(HERE)]
from cxr_infer.intensity import to_unit
from cxr_infer.metrics import psnr_of_mse
from cxr_infer.mottle import estimate_mottle
from cxr_train.checkpoint import read_tensors, write_tensors
from cxr_train.config import DEFAULTS, VALIDATION_DOSES
from cxr_train.quantise import quantised
from cxr_train.samples import Batch, WindowSamples
from cxr_train.tasks import contrast_lost, dissimilarity, expected_error, noisy_validation
from convert import convert

E = os.environ.get
OUT = Path(E("OUT", "/work/tmp/gpu/out"))
STATE = Path(E("STATE", "/tmp/state.pt"))
TOTAL, UNTIL = float(E("TOTAL", "600")), float(E("UNTIL", "600"))  # training seconds in all; where this call ends
B, PAIRS, CROP = int(E("B", "40")), int(E("PAIRS", "6")), int(E("CROP", "192"))
LR, LAST = float(E("LR", "5e-4")), float(E("LAST", "5e-6"))
ENC, DEC = json.loads(E("ENC", "[1,2,1,0]")), json.loads(E("DEC", "[2,1,1]"))
SHARE, TW, PW, EMA = float(E("SHARE", "0.95")), float(E("TW", "4")), float(E("PW", "0.45")), float(E("EMA", "0.9995"))
WORKERS, SEED = int(E("WORKERS", "14")), int(E("SEED", "11"))
DEADLINE = float(E("DEADLINE", "0"))
dev = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Arrays:
    def __init__(self, folder):
        self.folder, self._a = folder, None

    def _load(self):
        if self._a is None:
            self._a = [np.load(f"{self.folder}/{n}.npy", mmap_mode="r") for n in ("a", "b")]
        return self._a

    def __getstate__(self):
        return {"folder": self.folder, "_a": None}

    def __len__(self):
        return sum(map(len, self._load()))

    def __getitem__(self, i):
        a, b = self._load()
        return np.asarray(a[i] if i < len(a) else b[i - len(a)])


class Light(torch.utils.data.Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __getitem__(self, step):
        b = self.samples.batch(step)
        return b.noisy.half(), b.clean.half(), b.weight.half(), b.level, b.error_level, b.quantised


def start(_):
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def same(x):
    return x


def main():
    began = time.time()
    say = lambda *a: print(f"{time.time() - began:6.1f}", *a, flush=True)
    say(torch.__version__, dev, os.cpu_count())
    pack = HERE / "img"
    shm = "/dev/shm/cxr"
    os.makedirs(shm, exist_ok=True)
    names = sorted(p.stem for p in pack.glob("*.webp"))
    read = lambda n: cv2.imread(str(pack / f"{n}.webp"), cv2.IMREAD_GRAYSCALE)
    with ThreadPoolExecutor(16) as pool:
        imgs = dict(zip(names, pool.map(read, names)))
    group = lambda c: [imgs[n] for n in names if n[0] == c]
    for c in "ab":
        np.save(f"{shm}/{c}.npy", np.stack(group(c)))
    val = [to_unit(x) for x in group("v")]
    levels = json.load(open(HERE / "levels.json"))
    config = replace(
        DEFAULTS["window"],
        batch=B,
        crop=CROP,
        pairs=PAIRS,
        pair_weight=PW,
        quantised_share=SHARE,
        seed=SEED,
        teacher_weight=TW,
    )
    samples = WindowSamples(Arrays(shm), config)
    samples._own_levels = {i: levels[n] for i, n in enumerate(n for n in names if n[0] in "ab")}
    say("images", len(samples.images), len(val))

    model = convert(HERE / "checkpoint.safetensors", ENC, DEC)
    average = convert(HERE / "checkpoint.safetensors", ENC, DEC).eval().to(dev)
    model = model.to(dev).train()
    for p in model.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    spec = importlib.util.spec_from_file_location("old", HERE / "models_shipped.py")
    old = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(old)
    teacher = old.WindowDenoisingAutoencoder()
    teacher.load_state_dict(read_tensors(HERE / "checkpoint.safetensors")[0])
    teacher = teacher.to(dev).eval()
    for p in teacher.parameters():
        p.requires_grad_(False)
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    torch.backends.cudnn.allow_tf32 = False
    if dev.type == "cuda":
        auto = torch.autocast("cuda", dtype=torch.bfloat16)
        for m in (model, teacher):
            for part in (m.encoder, m.decoder):
                part.forward = auto(part.forward)
    params = list(model.parameters())
    means = list(average.parameters())
    opt = torch.optim.AdamW(params, lr=LR, weight_decay=1e-4, fused=True)
    step, spent = 0, 0.0
    best = None
    if STATE.exists():
        s = torch.load(STATE, map_location=dev)
        model.load_state_dict(s["model"])
        average.load_state_dict(s["average"])
        opt.load_state_dict(s["opt"])
        step, spent = s["step"], s["spent"]
        say("resumed", step, spent)

    fast = torch.compile(model, dynamic=False) if dev.type == "cuda" else model
    fast_teacher = torch.compile(teacher, dynamic=False) if dev.type == "cuda" else teacher

    def rest(denoised, clean, weight, error_level, taught):
        expected = expected_error(error_level)[:, None, None, None]
        error = (denoised - clean) / expected
        loss = (weight * 3.0 * (torch.sqrt(error * error + 9.0) - 3.0)).mean()
        loss = loss + PW * contrast_lost(denoised[-2 * PAIRS :], clean[-2 * PAIRS :])
        apart = (denoised.clamp(0, 1) - taught) / expected
        return loss + TW * (apart * apart).mean() + config.ssim_weight * dissimilarity(denoised, clean)

    fast_rest = torch.compile(rest, dynamic=False) if dev.type == "cuda" else rest

    loader = (
        iter(
            DataLoader(
                Light(samples),
                batch_size=None,
                sampler=count(step),
                num_workers=WORKERS,
                collate_fn=same,
                pin_memory=dev.type == "cuda",
                worker_init_fn=start,
                multiprocessing_context="spawn",
                prefetch_factor=4,
            )
        )
        if WORKERS
        else map(Light(samples).__getitem__, count(step))
    )

    def get():
        *tensors, on = next(loader)
        return [t.to(dev, non_blocking=True).float() for t in tensors], on

    def one(tensors, on):
        noisy, clean, weight, level, error = tensors
        with torch.no_grad():
            taught = fast_teacher(noisy, level)
        with quantised(model, on=on):
            denoised = fast(noisy, level)
        loss = fast_rest(denoised, clean, weight, error, taught)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
        return loss.detach()

    def validate(tag):
        row = {}
        for white in (*VALIDATION_DOSES, 0.0):
            for key, on in ((f"q{white:.0f}", False), (f"q{white:.0f}i", True)):
                got = []
                for i, c in enumerate(val):
                    n = noisy_validation(c, white, i) if white else c
                    lv = torch.tensor(
                        [LV.setdefault((white, i), estimate_mottle(n).level)], device=dev, dtype=torch.float32
                    )
                    with torch.no_grad(), quantised(average, on=on):
                        d = average(torch.from_numpy(n)[None, None].to(dev), lv)[0, 0].cpu().numpy()
                    got.append(psnr_of_mse(float(np.mean((d - c) ** 2, dtype=np.float64))))
                row[key] = float(np.mean(got))
        say(tag, " ".join(f"{k} {v:.3f}" for k, v in row.items()))
        return row

    LV = {}

    def save(name):
        write_tensors(
            OUT / name,
            {k: v.cpu() for k, v in average.state_dict().items()},
            {"step": step, "spent": spent, "enc": ENC, "dec": DEC},
        )

    if dev.type == "cuda":  # compile all graphs before the clock starts
        tensors, _ = get()
        say("first batch")
        for on in (True, False):
            one(tensors, on)
            torch.cuda.synchronize()
            norm = {n: float(p.grad.norm()) for n, p in model.named_parameters() if p.grad is not None}
            say(
                "compiled",
                on,
                "gradient of the first convolution",
                norm["encoder.stem.weight"],
                "of a step",
                norm.get("encoder.entered.log_step"),
            )
            if not norm["encoder.stem.weight"]:
                say("NO GRADIENT: nothing to train with")
                os._exit(1)
        opt.zero_grad(set_to_none=True)
        t = time.time()
        for _ in range(40):
            one(tensors, True)
            opt.step
        torch.cuda.synchronize()
        say(f"gpu alone {40 / (time.time() - t):.1f} steps/s")
    global TOTAL, UNTIL
    if DEADLINE:
        TOTAL = UNTIL = spent + DEADLINE - (time.time() - began)
        say("total", TOTAL)
    good = None
    rate_factor = 1.0
    running = 0.0
    seen = 0
    waited = 0.0
    last = mark = time.time()
    marked = step
    while spent < UNTIL:
        fraction = min(spent / TOTAL, 1.0)
        lr = (LAST + (LR - LAST) * 0.5 * (1 + math.cos(math.pi * fraction))) * min(1, (step + 1) / 300) * rate_factor
        for g in opt.param_groups:
            g["lr"] = lr
        t = time.time()
        tensors, on = get()
        waited += time.time() - t
        loss = one(tensors, on)
        opt.step()
        step += 1
        decay = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(means, params, 1 - decay)
        if step % 20 == 0:
            value = loss.item()
            now = time.time()
            spent += now - last
            last = now
            if not math.isfinite(value) or value > 1e4:
                say("BAD", step, value, "back to", good and good["step"])
                if good is None or rate_factor < 0.05:
                    break
                model.load_state_dict(good["model"])
                average.load_state_dict(good["average"])
                opt.load_state_dict(good["opt"])
                rate_factor *= 0.5
                continue
            running += value
            seen += 1
            if step % 500 == 0 and value < 20:
                good = {
                    "step": step,
                    "model": {k: v.clone() for k, v in model.state_dict().items()},
                    "average": {k: v.clone() for k, v in average.state_dict().items()},
                    "opt": __import__("copy").deepcopy(opt.state_dict()),
                }
            if step % 1000 == 0 or (step < 1000 and step % 200 == 0) or WORKERS == 0:
                say(
                    f"step {step} spent {spent:.0f} lr {lr:.2e} loss {running / seen:.4f} {(step - marked) / (now - mark):.1f} steps/s waited {waited:.1f}s"
                )
                running = seen = 0
                waited = 0
                mark, marked = now, step
            if step % 4000 == 0:
                save("a.safetensors")
    save("average.safetensors")
    torch.save(
        {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "opt": opt.state_dict(),
            "step": step,
            "spent": spent,
        },
        STATE,
    )
    write_tensors(
        OUT / "raw.safetensors",
        {k: v.cpu().contiguous() for k, v in model.state_dict().items()},
        {"step": step, "spent": spent, "enc": ENC, "dec": DEC},
    )
    say("saved", step, spent)
    validate("VAL")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
