import sys

sys.path[:0] = ["/work/main", "/work/main/train", "/work/main/export", "/work/tmp/trial"]
from pathlib import Path
from convert import convert
import onnx
from cxr_export.to_onnx import to_int8_onnx
from cxr_train.checkpoint import CheckpointInfo, read_tensors

p = Path("/work/main/weights/window/checkpoint.safetensors")
t, h = read_tensors(p)
V = {"E": ((1, 2, 1, 0), (2, 2, 1)), "A": ((1, 2, 2, 1), (2, 2, 1)), "K": ((1, 2, 0, 0), (2, 2, 1))}
for n, (e, d) in V.items():
    m = convert(p, e, d, coarse=2.0).eval()
    f = Path(f"/work/tmp/bench/{n}/window")
    f.mkdir(parents=True, exist_ok=True)
    onnx.save(to_int8_onnx(m, CheckpointInfo(**{**h, "arguments": m.arguments}))[0], f / "model.int8.onnx")
