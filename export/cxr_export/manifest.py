"""weights/manifest.json: the cards of all models, with all that a program in another language must know, as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_export.processing import after, before
from cxr_infer.imaging.mottle import MAX_LEVEL
from cxr_infer.model.card import (
    DENOISED,
    FORMAT,
    NOISE_LEVEL,
    NOISY,
    RESEARCH_USE,
    TOLERANCES,
    ModelCard,
    card_path,
    sha256,
)
from cxr_infer.model.manifest import SCHEMA

Entry = dict[str, Any]

SHARED = ("purpose", "parameters", "training", "data", "metrics", "citation", "licence", "limits", "code_version")


def manifest(models: Mapping[str, Entry]) -> Entry:
    """The whole manifest of models by name. Paths in it start where it lies."""
    return {"$schema": SCHEMA, "format": FORMAT, "limits": RESEARCH_USE, "models": dict(models)}


def model_entry(card: ModelCard, files: Mapping[str, Entry], test: Entry) -> Entry:
    """One model. card: of its float32 file. files: by precision, see `file_entry`. test: see `cxr_export.cases`."""
    return {
        **{key: getattr(card, key) for key in SHARED},
        "files": dict(files),
        "inputs": inputs(card),
        "outputs": [_image(card, DENOISED, "the same image without its mottle")],
        "before": before(card),
        "after": after(card),
        "test": test,
    }


def file_entry(card: ModelCard, path: Path) -> Entry:
    """One ONNX file."""
    return {
        "file": f"{path.parent.name}/{path.name}",
        "card": f"{path.parent.name}/{card_path(path).name}",
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "opset": card.opset,
        "precision": card.precision,
        "tolerance": TOLERANCES[card.precision],
    }


def inputs(card: ModelCard) -> list[Entry]:
    """The inputs of the graph, in its order."""
    found = [_image(card, NOISY, "gray X-rays, black 0, bone white 1; windows of one image or several images")]
    if card.told_noise_level:
        meaning = "standard deviation of sqrt(pixel), one number for each image of the batch"
        batch = _axis("batch")
        found.append(_tensor(NOISE_LEVEL, meaning, [batch], (0.0, MAX_LEVEL)))
    return found


def _image(card: ModelCard, name: str, meaning: str) -> Entry:
    sides = [_axis(side, card.size, card.multiple) for side in ("height", "width")]
    return _tensor(name, meaning, [_axis("batch"), _axis("channel", 1), *sides], card.pixel_range)


def _tensor(name: str, meaning: str, axes: list[Entry], value_range: tuple[float, float]) -> Entry:
    return {"name": name, "meaning": meaning, "dtype": "float32", "range": list(value_range), "axes": axes}


def _axis(name: str, size: int | None = None, multiple: int = 1) -> Entry:
    """size: None where it is free: then any multiple of `multiple` from one times it up."""
    return (
        {"name": name, "size": size}
        if size is not None
        else {
            "name": name,
            "size": None,
            "multiple_of": multiple,
            "minimum": multiple,
        }
    )
