import sys, time, shutil, os, resource

sys.path[:0] = ["/work/tmp/wt"]
from pathlib import Path
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
import cv2

cv2.setNumThreads(2)
from cxr_infer import batch, load_model, stages
from cxr_infer.settings import Settings


def two(items, read, compute, write, *, stopped=lambda: False):
    source = iter(items)
    reading = deque()
    computing = deque()
    writing = deque()
    R = ThreadPoolExecutor(1)
    C = ThreadPoolExecutor(2)
    W = ThreadPoolExecutor(1)
    while True:
        reading.extend(R.submit(read, i) for i in islice(source, 2 - len(reading)))
        if not reading and not computing:
            break
        while reading and len(computing) < 2:
            computing.append(C.submit(lambda f=reading.popleft(): compute(f.result())))
            reading.extend(R.submit(read, i) for i in islice(source, 2 - len(reading)))
        writing.append(W.submit(write, computing.popleft().result()))
        while writing and (len(writing) > 2 or writing[0].done()):
            yield writing.popleft().result()
    while writing:
        yield writing.popleft().result()


from cxr_infer import plan as P
import inspect

one = stages.in_stages


def go(model, engine, tag):
    batch.in_stages = engine
    out = Path("/dev/shm/o")
    shutil.rmtree(out, ignore_errors=True)
    pl = mk(out)
    t = time.perf_counter()
    c = time.process_time()
    n = 0
    for r in batch.denoise_files(pl, model, Settings(), overwrite=True):
        n += 1
        assert r.status == "done", r
    return (time.perf_counter() - t) / n / 1.048576 * 1e3, (time.process_time() - c) / n / 1.048576 * 1e3


src = Path("/dev/shm/noisy")
from benchmarks import speed

if not src.exists():
    clean = {
        f"{i:02}.png": cv2.imread(str(p), 0)
        for i, p in enumerate(sorted(Path("/work/shared/data/nih/1024/val").glob("*.png"))[:8])
    }
    speed.write_noisy(clean, src)
from cxr_infer.plan import *
from cxr_infer.storage import open_storage


def mk(out):
    return P.make_plan(open_storage(str(src)), open_storage(str(out)))


ms = {(w, t): load_model(Path(f"/work/tmp/bench/{w}/window/model.int8.onnx"), threads=t) for w in "FS" for t in (1, 2)}
res = {}
for r in range(5):
    for k, m in ms.items():
        for e, en in (("one", one), ("two", two)):
            if k[1] == 1 and e == "one":
                continue
            res.setdefault((*k, e), []).append(go(m, en, ""))
import statistics as st

for k, v in res.items():
    print(
        k,
        "median %.1f min %.1f cpu %.1f"
        % (st.median(x[0] for x in v), min(x[0] for x in v), st.median(x[1] for x in v)),
    )
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
