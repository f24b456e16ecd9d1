"""Export weights/<model>/checkpoint.safetensors as ONNX files with cards, each replaced only after verification."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

from cxr_export.contract import contract
from cxr_export.loss import Loss, measure_loss
from cxr_export.parity import check_parity
from cxr_export.to_onnx import to_int8_onnx, to_onnx
from cxr_infer.errors import ModelError
from cxr_infer.files import write_bytes
from cxr_infer.model.card import CHECKPOINT, FP32, INT8, ModelCard, card_path, onnx_file, write_card
from cxr_train.checkpoint import CheckpointInfo, load_checkpoint
from cxr_train.quantise import calibrated


@dataclass(frozen=True)
class Exported:
    """An exported file, its opset, and the result of its verification."""

    name: str
    precision: str
    path: Path
    opset: int
    proof: str


def export_model(name: str, weights: Path) -> Exported:
    """Export a model of a weights directory in float32.

    Raises ModelError if the checkpoint is missing, damaged or of another model, or if torch and onnxruntime disagree;
    the old ONNX file is kept.
    """
    model, info = _load(name, weights)
    exported, card = to_onnx(model, info)
    parity = check_parity(model, exported, card)
    if not parity.holds:
        raise ModelError(f"{name}: torch and onnxruntime differ by {parity.largest:.1e}; the old file was kept")
    path = _write(weights / name / onnx_file(FP32), exported, card)
    return Exported(name, FP32, path, card.opset, f"within {parity.largest:.1e} of torch ({parity.cases} cases)")


def export_int8(name: str, weights: Path, data: Path | None = None) -> Exported | None:
    """Export a model, whose float32 file exists, in 8-bit integers; None if the model has no 8-bit grids.

    data: directory of X-rays on whose validation split the loss against float32 is measured; None for phantoms. Raises
    ModelError if the loss is too large or the grids are not calibrated. The int8 file is then removed, because an old
    one would belong to other weights.
    """
    model, info = _load(name, weights)
    folder = weights / name
    path = folder / onnx_file(INT8)
    ready = calibrated(model)
    if ready is None:
        return None
    try:
        if not ready:
            raise ModelError(f"{name}: no int8 file: 8-bit grids not calibrated; train it with cxr-train")
        exported, card = to_int8_onnx(model, info)
        loss: Loss = measure_loss((folder / onnx_file(FP32)).read_bytes(), exported.SerializeToString(), data)
        if not loss.holds:
            raise ModelError(f"{name}: no int8 file: {loss}; train it longer with cxr-train")
    except ModelError:
        path.unlink(missing_ok=True)
        card_path(path).unlink(missing_ok=True)
        raise
    return Exported(name, INT8, _write(path, exported, card), card.opset, str(loss))


def _load(name: str, weights: Path) -> tuple[nn.Module, CheckpointInfo]:
    path = weights / name / CHECKPOINT
    model, info = load_checkpoint(path)
    if info.model != name:
        raise ModelError(f"{path}: contains the model {info.model}; move it to {weights / info.model}")
    return model, info


def _write(path: Path, exported: onnx.ModelProto, card: ModelCard) -> Path:
    write_bytes(path, exported.SerializeToString(deterministic=True))
    write_bytes(card_path(path), write_card(card, path, contract(card)).encode())
    return path
