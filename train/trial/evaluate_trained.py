import sys

sys.path[:0] = ["/work/main", "/work/main/train", "/work/main/export", "/work/tmp/trial"]
import torch

torch.set_num_threads(2)
import importlib
import validate as V
from cxr_train.checkpoint import read_tensors
from cxr_train.models import build_model

t, h = read_tensors(V.Path(sys.argv[1]))
m = build_model("window", h["arguments"])
m.load_state_dict(t)
m.eval()
print(h["metrics"], h["training"].get("steps_done"))
V.val(m, 16, tag=sys.argv[1])
