"""Build weights/manifest.json: the cards of all models and everything a program in another language needs, as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxr_export.contract import axis, inputs, noise_level, outputs, tensor
from cxr_export.noise_level import TOLERANCE
from cxr_export.processing import after, before
from cxr_export.to_onnx import OPSET
from cxr_infer.imaging.mottle import BLOCK
from cxr_infer.model.card import CARD_FORMAT, NOISY, RESEARCH_USE, TOLERANCES, ModelCard, card_path, sha256
from cxr_infer.model.manifest import SCHEMA
from cxr_infer.untrusted_json import JsonObject

SHARED = ("purpose", "parameters", "training", "data", "metrics", "citation", "licence", "limits", "code_version")


def manifest(models: Mapping[str, JsonObject], noise_level: Path | None) -> JsonObject:
    """Return the manifest of models by name. Its paths are relative to it. noise_level: its ONNX file, if any."""
    estimate = {} if noise_level is None else {"noise_estimate": noise_estimate_entry(noise_level)}
    return {"$schema": SCHEMA, "format": CARD_FORMAT, "limits": RESEARCH_USE, **estimate, "models": dict(models)}


def model_entry(card: ModelCard, files: Mapping[str, JsonObject], test: JsonObject) -> JsonObject:
    """Return the entry of a model. card: of its float32 file. files: by precision, see `file_entry`. test: see
    `cases`.
    """
    return {
        **{key: getattr(card, key) for key in SHARED},
        "files": dict(files),
        "inputs": inputs(card),
        "outputs": outputs(card),
        "before": before(card),
        "after": after(card),
        "test": test,
    }


def file_entry(card: ModelCard, path: Path) -> JsonObject:
    """Return the entry of an ONNX file."""
    return {
        "file": f"{path.parent.name}/{path.name}",
        "card": f"{path.parent.name}/{card_path(path).name}",
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "opset": card.opset,
        "precision": card.precision,
        "tolerance": TOLERANCES[card.precision],
    }


def noise_estimate_entry(path: Path) -> JsonObject:
    """Return the entry of the ONNX file that estimates the noise."""
    sides = [axis(side, minimum=BLOCK) for side in ("height", "width")]
    image = "one or more whole images of equal size, before padding"
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "opset": OPSET,
        "tolerance": TOLERANCE,
        "inputs": [tensor(NOISY, image, [axis("batch"), axis("channel", 1), *sides], (0.0, 1.0))],
        "outputs": [noise_level()],
    }
