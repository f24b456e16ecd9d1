"""weights/<model>/checkpoint.safetensors -> the ONNX files and cards beside it, each replaced only once proved."""

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
from cxr_infer.model.card import FP32, INT8, ModelCard, card_path, onnx_file, write_card
from cxr_train.checkpoint import CheckpointInfo, load_checkpoint
from cxr_train.config import CHECKPOINT
from cxr_train.quantise import calibrated


@dataclass(frozen=True)
class Exported:
    """One exported file: what it is, its opset, and what was proved of it."""

    name: str
    precision: str
    path: Path
    opset: int
    proof: str


def export_model(name: str, weights: Path) -> Exported:
    """Export a model of a weights directory in float32.

    Raises ModelError where the checkpoint is missing or damaged, is another model's, or where torch and onnxruntime
    disagree; the old ONNX file then stays.
    """
    model, info = _load(name, weights)
    exported, card = to_onnx(model, info)
    parity = check_parity(model, exported, card)
    if not parity.holds:
        raise ModelError(f"{name}: torch and onnxruntime differ by {parity.largest:.1e}; the old file was kept")
    path = _write(weights / name / onnx_file(FP32), exported, card)
    return Exported(name, FP32, path, card.opset, f"within {parity.largest:.1e} of torch ({parity.cases} cases)")


def export_int8(name: str, weights: Path, data: Path | None = None) -> Exported | None:
    """Export a model, whose float32 file is there already, in 8-bit integers; None for a model that has no such grids.

    data: directory of X-rays on whose validation split the loss against float32 is measured; without it on phantoms.
    Raises ModelError where the loss is too great or the grids were never calibrated. Then there is no int8 file: an
    older one would belong to other weights.
    """
    model, info = _load(name, weights)
    folder = weights / name
    path = folder / onnx_file(INT8)
    ready = calibrated(model)
    if ready is None:
        return None
    try:
        if not ready:
            raise ModelError(f"{name}: no int8 file: its 8-bit grids were never calibrated; train it with cxr-train")
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
