import os, sys, time, json
from pathlib import Path

HERE = Path("/work/tmp/bench")
ROOT = Path("/work/tmp/wt")
sys.path[:0] = [str(ROOT), str(ROOT / "train"), str(ROOT / "export")]
os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT}/train:{ROOT}/export"
import cv2, numpy as np, tempfile
from statistics import median
from benchmarks import peers, speed
from cxr_infer import load_model
from cxr_infer.intensity import to_unit


def main():
    models = sys.argv[2].split(",")
    rounds = int(sys.argv[1])
    threads = 2
    names = sorted(Path("/work/shared/data/nih/1024/val").glob("*.png"))[:16]
    clean = {f"{i:02}.png": cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for i, p in enumerate(names)}

    def bare(m):
        model = load_model(HERE / m / "window" / "model.int8.onnx", threads=threads)

        def timed(image):
            feed = {"noisy": to_unit(image)[None, None], "noise_level": np.array([0.06], np.float32)}
            t = time.perf_counter()
            model.session.run(["denoised"], feed)
            return time.perf_counter() - t

        timed(clean["00.png"])
        return timed

    bares = {m: bare(m) for m in models}
    times = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as f:
        work = Path(f)
        noisy = speed.write_noisy(clean, work / "noisy")
        with speed.working_peers([peers.NLM, peers.FFDNET], threads) as timed:
            for r in range(rounds):
                for m in models:
                    d = speed.run_cli(
                        work / "noisy", work / m, threads, "--model", str(HERE / m / "window" / "model.int8.onnx")
                    )
                    times.setdefault("cli " + m, []).append(d.seconds / d.megapixels)
                for p in sorted((work / "noisy").iterdir()):
                    for n, s in zip(("read", "write"), speed._read_and_write(p, work)):
                        times.setdefault(n, []).append(s / 1.048576)
                for m in models:
                    for f in list(noisy)[:4]:
                        times.setdefault("bare " + m, []).append(bares[m](noisy[f]) / 1.048576)
                for n, peer in timed.items():
                    for f in list(noisy)[:3]:
                        t = peer(noisy[f])
                        times.setdefault(n, []).append(t.seconds / t.megapixels)
    ff = median(times[peers.FFDNET])
    for n, v in times.items():
        print(
            f"{n:24s} {1e3 * median(v):7.1f} ms/MP  min {1e3 * min(v):7.1f}  FFDNet/this {ff / median(v):.2f}",
            flush=True,
        )
    if len(sys.argv) > 3:
        import onnxruntime as ort

        for m in models[:1]:
            o = ort.SessionOptions()
            o.intra_op_num_threads = 1
            o.enable_profiling = True
            o.profile_file_prefix = "/tmp/prof"
            s = ort.InferenceSession(
                str(HERE / m / "window" / "model.int8.onnx"), o, providers=["CPUExecutionProvider"]
            )
            x = {
                "noisy": np.random.rand(1, 1, 1024, 1024).astype(np.float32),
                "noise_level": np.array([0.06], np.float32),
            }
            for _ in range(6):
                s.run(None, x)
            ev = [
                e
                for e in json.load(open(s.end_profiling()))
                if e["cat"] == "Node" and e["name"].endswith("kernel_time")
            ]
            agg = {}
            for e in ev:
                k = (e["args"]["op_name"], str(list(e["args"].get("output_type_shape", [{}])[0].values())[:1]))
                a = agg.setdefault(k, [0, 0])
                a[0] += e["dur"] / 6e3 / 1.0486
                a[1] += 1 / 6
            print("one thread, ms/MP total", sum(a[0] for a in agg.values()))
            for k, a in sorted(agg.items(), key=lambda i: -i[1][0])[:26]:
                print(f"{a[0]:6.2f} x{a[1]:.0f}", *k)


if __name__ == "__main__":
    main()
