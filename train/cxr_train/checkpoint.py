"""Checkpoints are safetensors: weights, and in the header everything needed to rebuild the model. No pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cxr_infer.errors import ModelError
from cxr_infer.files import write_bytes
from cxr_infer.model.card import weights_directory
from cxr_infer.untrusted_json import parse_object
from cxr_train.config import CHECKPOINT
from cxr_train.models import build_model
from cxr_train.specs import SPECS

FORMAT = "cxr-infer checkpoint 1"
HEADER_KEY = "cxr_infer"
MOST_ARGUMENT = 4096  # of a model: channels of a layer, blocks of a stage


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    model: str
    arguments: dict[str, Any]  # of the model's constructor
    training: dict[str, Any]  # the TrainConfig, steps and minutes done
    data: dict[str, Any]  # fingerprint, layout, counts per split
    metrics: dict[str, float]  # on the validation patients
    code_version: str
    format: str = field(default=FORMAT)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON header to one safetensors file, whole or not at all."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file by name, and its header.

    Raises ModelError where the file is missing, damaged, carries no header of this project, or holds a value that is
    not finite: what is computed with such weights proves nothing.
    """
    if path.is_dir():
        raise ModelError(f"{path}: is a directory; give the checkpoint in it")
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint; train one with `cxr-train` or restore it from the repository")
    try:
        with safe_open(str(path), framework="pt") as opened:
            header = parse_object((opened.metadata() or {})[HEADER_KEY])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: damaged, or not a checkpoint of cxr-train; train it again or restore it") from error
    # as float32, which is what models compute with: a larger number of another type is infinite there
    floats = {name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()}
    wrong = next((name for name, tensor in floats.items() if not torch.isfinite(tensor).all()), None)
    if wrong is not None:
        raise ModelError(f"{path}: {wrong} contains non-finite values; train it again or restore it")
    return tensors, header


def save_checkpoint(path: Path, weights: Mapping[str, Tensor], info: CheckpointInfo) -> None:
    write_tensors(path, weights, info.__dict__)


def load_checkpoint(path: Path) -> tuple[nn.Module, CheckpointInfo]:
    """The model in evaluation mode, rebuilt from its file alone. Raises ModelError."""
    weights, header = read_tensors(path)
    try:
        info = CheckpointInfo(**header)
        if info.format != FORMAT or info.model not in SPECS:
            raise ModelError(
                f"{path}: {info.format!r} of model {info.model!r} is not known to this version; train it again"
            )
        model = _built(info, weights)
    except (TypeError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: its weights do not fit the model it names; train it again or restore it") from error
    return model.eval(), info


def _built(info: CheckpointInfo, weights: Mapping[str, Tensor]) -> nn.Module:
    """The model that a header describes, with its weights. Raises ValueError or TypeError where they do not fit it.

    What the header asks for is made without memory first: no more of it is taken than the weights take.
    """
    texts, facts = (info.model, info.code_version), (info.arguments, info.training, info.data, info.metrics)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(fact, dict) for fact in facts):
        raise TypeError("a header of other types")
    if not all(map(math.isfinite, info.metrics.values())) or _largest_number(info.arguments) > MOST_ARGUMENT:
        raise ValueError("numbers that cannot be")
    with torch.device("meta"):
        sketch = build_model(info.model, info.arguments).state_dict()
    if {name: tensor.shape for name, tensor in sketch.items()} != {name: each.shape for name, each in weights.items()}:
        raise ValueError("weights of other names or shapes")
    model = build_model(info.model, info.arguments)
    model.load_state_dict(weights)
    return model


def _largest_number(content: object) -> float:
    """Of all numbers in the arguments of a model, and of the lengths of their lists."""
    if isinstance(content, dict | list):
        parts = content.values() if isinstance(content, dict) else content
        return max((len(content), *map(_largest_number, parts)))
    return abs(content) if isinstance(content, int | float) else 0


def start_file(start: str) -> Path:
    """The checkpoint to start from: of a shipped model by its name, in the folder of a run, or the file itself."""
    if start in SPECS:
        return weights_directory() / start / CHECKPOINT
    path = Path(start)
    return path / CHECKPOINT if path.is_dir() else path


def start_from(model: nn.Module, path: Path) -> None:
    """Give a fresh model the weights of a trained one. Residual blocks that it has beyond them start as identity.

    Raises ModelError where the file is no checkpoint or holds a weight that the model has no place for.
    """
    weights, _ = read_tensors(path)
    fresh = model.state_dict()
    if unfit := [name for name, weight in weights.items() if name not in fresh or fresh[name].shape != weight.shape]:
        raise ModelError(f"{path}: its {unfit[0]} does not fit the network; start from weights of the same widths")
    model.load_state_dict(fresh | weights)
