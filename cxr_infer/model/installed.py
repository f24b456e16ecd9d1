"""Which model files there are: their names, precisions, and whether they are what their cards say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxr_infer.errors import ModelError, UsageError
from cxr_infer.model.card import (
    FP32,
    INT8,
    MODEL_NAMES,
    ModelCard,
    card_path,
    onnx_file,
    read_card_file,
    sha256,
    weights_directory,
)
from cxr_infer.model.hardware import multiplies_int8_fast

AUTO = "auto"
CHOICES = (AUTO, FP32, INT8)


def model_path(name: str | Path, precision: str = AUTO) -> Path:
    """The ONNX file of a shipped model, or the given path.

    precision: `fp32`, `int8`, or `auto` for int8 where the model has it and this CPU is made for it.
    Raises UsageError or ModelError where there is none.
    """
    if precision not in CHOICES:
        raise UsageError(f"unknown precision {precision!r}; use {', '.join(CHOICES)}")
    if str(name) in MODEL_NAMES:
        return _shipped(str(name), precision)
    path = Path(name)
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"unknown model {str(name)!r}; use {', '.join(MODEL_NAMES)} or the path of an .onnx file")
    if not path.exists():  # what there is else than a file is said when it is read
        raise ModelError(f"{path}: no such model file; check the path")
    if precision != AUTO:
        raise UsageError(f"{path}: an .onnx file has one precision, its own; leave --precision out")
    return path


def _shipped(name: str, precision: str) -> Path:
    folder = weights_directory() / name
    if precision != FP32:
        path = folder / onnx_file(INT8)
        if path.is_file() and (precision == INT8 or multiplies_int8_fast()):
            return path
        if precision == INT8:
            raise UsageError(f"model {name} has no int8 file; use --precision fp32")
    path = folder / onnx_file(FP32)
    if not path.is_file():
        raise ModelError(f"{path}: the model is not installed; reinstall cxr-infer or run cxr-export {name}")
    return path


@dataclass(frozen=True)
class InstalledModel:
    """One shipped model file as it lies on the disk; `intact` says whether it matches the SHA-256 of its card."""

    name: str
    precision: str
    purpose: str
    path: Path
    bytes: int
    sha256: str
    intact: bool


def installed_models() -> list[InstalledModel]:
    """The shipped model files. Raises ModelError where one that every model has, or a card, is missing."""
    models = []
    for name in MODEL_NAMES:
        plain = model_path(name, FP32)
        paths = (plain, plain.with_name(onnx_file(INT8)))
        for path in filter(Path.is_file, paths):
            content = read_card_file(card_path(path))
            card, digest = ModelCard.from_mapping(content, str(path)), sha256(path)
            intact = digest == content.get("sha256")
            size = path.stat().st_size
            models.append(InstalledModel(name, card.precision, card.purpose, path, size, digest, intact))
    return models


def is_intact(path: Path, digest: str) -> bool:
    """Whether a shipped file with this hex SHA-256 is what its card says. Raises ModelError where the card is bad."""
    return bool(read_card_file(card_path(path)).get("sha256") == digest)
