"""weights/<model>/checkpoint.safetensors -> weights/<model>/model.onnx and card.json, replaced only once proved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxr_export.parity import Parity, check_parity
from cxr_export.to_onnx import to_onnx
from cxr_infer.errors import ModelError
from cxr_infer.image_io import write_bytes
from cxr_infer.model_card import CARD_FILE, ONNX_FILE, write_card
from cxr_train.checkpoint import load_checkpoint
from cxr_train.loop import CHECKPOINT


@dataclass(frozen=True)
class Exported:
    """One exported model: where it is, its bytes, its opset and the proof."""

    name: str
    path: Path
    bytes: int
    opset: int
    parity: Parity


def export_model(name: str, weights: Path) -> Exported:
    """Export one model of a weights directory.

    Raises ModelError where the checkpoint is missing or damaged, is another model's, or where torch and onnxruntime
    disagree; the old ONNX file then stays.
    """
    folder = weights / name
    model, info = load_checkpoint(folder / CHECKPOINT)
    if info.model != name:
        raise ModelError(f"{folder / CHECKPOINT}: holds the model {info.model}; put it into {weights / info.model}")
    exported, card = to_onnx(model, info)
    parity = check_parity(model, exported, card)
    if not parity.holds:
        raise ModelError(f"{name}: torch and onnxruntime differ by {parity.largest:.1e}; the old file was kept")
    path = folder / ONNX_FILE
    write_bytes(path, exported.SerializeToString(deterministic=True))
    write_bytes(folder / CARD_FILE, write_card(card, path).encode())
    return Exported(name, path, path.stat().st_size, card.opset, parity)
