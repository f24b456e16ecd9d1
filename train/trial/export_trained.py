import sys

sys.path[:0] = ["/work/main", "/work/main/train", "/work/main/export", "/work/tmp/trial"]
from pathlib import Path
from convert import convert
import onnx
from cxr_export.to_onnx import to_int8_onnx, to_onnx
from cxr_train.checkpoint import CheckpointInfo, read_tensors
from cxr_train.models import build_model

src = Path(sys.argv[2]) if len(sys.argv) > 2 else None
p = Path("/work/main/weights/window/checkpoint.safetensors")
if src:
    t, h = read_tensors(src)
    h["arguments"] = {"widths": [32, 64, 96, 96], "encoder_blocks": [1, 2, 1, 0], "decoder_blocks": [2, 1, 1]}
    m = build_model("window", h["arguments"])
    m.load_state_dict(t)
    m.eval()
else:
    t, h = read_tensors(p)
    m = convert(p, (1, 2, 1, 0), (2, 1, 1), coarse=2.0).eval()
d = Path(f"/work/tmp/bench/{sys.argv[1]}/window")
d.mkdir(parents=True, exist_ok=True)
i = CheckpointInfo(**{**h, "arguments": m.arguments})
onnx.save(to_int8_onnx(m, i)[0], d / "model.int8.onnx")
onnx.save(to_onnx(m, i)[0], d / "model.onnx")
