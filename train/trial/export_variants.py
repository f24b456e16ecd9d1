import sys; from pathlib import Path
from convert import convert
import json, onnx
from cxr_export.to_onnx import to_int8_onnx, to_onnx
from cxr_train.checkpoint import CheckpointInfo, read_tensors
p = Path('/work/tmp/weights_window_checkpoint.safetensors')
t, h = read_tensors(p)
for name, enc, dec in (('F',(1,2,1,0),(2,1,1)),):
    m = convert(p, enc, dec).eval()
    info = CheckpointInfo(**{**h, 'arguments': m.arguments})
    o, card = to_int8_onnx(m, info)
    d = Path(f'/work/tmp/gpu/v1'); d.mkdir(parents=True, exist_ok=True)
    onnx.save(o, d/'model.int8.onnx'); print(name, (d/'model.int8.onnx').stat().st_size)
    (d/'card.int8.json').write_text(json.dumps(card.to_json() if hasattr(card,'to_json') else json.loads(card.as_json()) if hasattr(card,'as_json') else card.__dict__, default=str))
