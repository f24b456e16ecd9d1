"""Read and write checkpoints: safetensors with everything needed to rebuild the model in the header. No pickle."""

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
from cxr_infer.model.card import CHECKPOINT, weights_directory
from cxr_infer.untrusted_json import parse_object
from cxr_train.models import build_model
from cxr_train.specs import SPECS

CHECKPOINT_FORMAT = "cxr-infer checkpoint 1"
HEADER_KEY = "cxr_infer"
MOST_ARGUMENT = 4096  # largest argument of a model, such as channels of a layer or blocks of a stage


@dataclass(frozen=True)
class CheckpointInfo:
    """The header of a checkpoint."""

    model: str
    arguments: dict[str, Any]  # of the model's constructor
    training: dict[str, Any]  # the TrainConfig, steps and minutes done
    data: dict[str, Any]  # fingerprint, layout, counts per split
    metrics: dict[str, float]  # on the validation patients
    code_version: str
    format: str = field(default=CHECKPOINT_FORMAT)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON header to a safetensors file, completely or not at all."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file by name, and its header.

    Raises ModelError if the file is missing or damaged, has no header of this project, or contains non-finite values,
    which would make every later comparison meaningless.
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
        raise ModelError(
            f"{path}: damaged, or not a checkpoint of cxr-train; train the model again or restore the file"
        ) from error
    # as float32, in which models compute: large values of other types become infinite there
    floats = {name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()}
    wrong = next((name for name, tensor in floats.items() if not torch.isfinite(tensor).all()), None)
    if wrong is not None:
        raise ModelError(f"{path}: {wrong} contains non-finite values; train the model again or restore the file")
    return tensors, header


def save_checkpoint(path: Path, weights: Mapping[str, Tensor], info: CheckpointInfo) -> None:
    write_tensors(path, weights, info.__dict__)


def load_checkpoint(path: Path) -> tuple[nn.Module, CheckpointInfo]:
    """Rebuild the model of a file, in evaluation mode. Raises ModelError."""
    weights, header = read_tensors(path)
    try:
        info = CheckpointInfo(**header)
        if info.format != CHECKPOINT_FORMAT or info.model not in SPECS:
            raise ModelError(
                f"{path}: unknown format {info.format!r} or model {info.model!r}; train it with this version"
            )
        model = _built(info, weights)
    except (TypeError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path}: weights do not fit the model it names; train the model again or restore the file"
        ) from error
    return model.eval(), info


def _built(info: CheckpointInfo, weights: Mapping[str, Tensor]) -> nn.Module:
    """Build the model described by a header, with its weights. Raises ValueError or TypeError if they do not fit.

    The model is first built without memory, so that an untrusted header cannot allocate more than the weights need.
    """
    texts, facts = (info.model, info.code_version), (info.arguments, info.training, info.data, info.metrics)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(fact, dict) for fact in facts):
        raise TypeError("wrong types in the header")
    if not all(map(math.isfinite, info.metrics.values())) or _largest_number(info.arguments) > MOST_ARGUMENT:
        raise ValueError("impossible numbers in the header")
    with torch.device("meta"):
        sketch = build_model(info.model, info.arguments).state_dict()
    if {name: tensor.shape for name, tensor in sketch.items()} != {name: each.shape for name, each in weights.items()}:
        raise ValueError("wrong names or shapes of weights")
    model = build_model(info.model, info.arguments)
    model.load_state_dict(weights)
    return model


def _largest_number(content: object) -> float:
    """Return the largest number among a model's arguments and the lengths of their lists."""
    if isinstance(content, dict | list):
        parts = content.values() if isinstance(content, dict) else content
        return max((len(content), *map(_largest_number, parts)))
    return abs(content) if isinstance(content, int | float) else 0


def start_file(start: str) -> Path:
    """Return the checkpoint to start from: of a shipped model by name, in the folder of a run, or the file itself."""
    if start in SPECS:
        return weights_directory() / start / CHECKPOINT
    path = Path(start)
    return path / CHECKPOINT if path.is_dir() else path


def start_from(model: nn.Module, path: Path) -> None:
    """Load the weights of a trained model into a fresh one. Additional residual blocks start as identity.

    Raises ModelError if the file is not a checkpoint, or has a weight that does not fit the model.
    """
    weights, _ = read_tensors(path)
    fresh = model.state_dict()
    if unfit := [name for name, weight in weights.items() if name not in fresh or fresh[name].shape != weight.shape]:
        raise ModelError(f"{path}: its {unfit[0]} does not fit the network; start from weights with the same --widths")
    model.load_state_dict(fresh | weights)
