"""Find model files: their names, their precisions, and whether they match their cards."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cxr_infer.errors import ModelError, UsageError
from cxr_infer.model.card import (
    CHECKPOINT,
    CHECKPOINT_SUFFIX,
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
from cxr_infer.model.manifest import read_noise_estimate

AUTO = "auto"
CHOICES = (AUTO, FP32, INT8)
NOISE_PURPOSE = "no denoiser: finds the noise level of an image, which window is told; for other programs"
MOST_NAMED = 3  # files named in a message


def model_path(name: str | Path, precision: str = AUTO) -> Path:
    """Return the ONNX file of a shipped model, of a folder written by cxr-export, or the given path.

    precision: `fp32`, `int8`, or `auto`: int8 if the model has it and this CPU computes it fast.
    Raises UsageError or ModelError if there is no such file.
    """
    if not isinstance(name, str | os.PathLike):
        raise UsageError(f"a {type(name).__name__} is not a model; give a name, the path of an .onnx file or a Model")
    if precision not in CHOICES:
        raise UsageError(f"unknown precision {precision!r}; use {', '.join(CHOICES)}")
    if str(name) in MODEL_NAMES:
        return _of_folder(weights_directory() / name, precision, f"reinstall cxr-infer or run cxr-export {name}")
    path = Path(name)
    if path.is_dir():
        return _of_folder(path, precision)
    if path.suffix.lower() != ".onnx":
        raise UsageError(_no_model(str(name), path))
    if not path.exists():  # anything but a file is reported when it is read
        raise ModelError(f"{path}: no such model file; check the path")
    if precision != AUTO:
        raise UsageError(f"{path}: an .onnx file has one precision; omit --precision")
    return path


def _of_folder(folder: Path, precision: str, way_out: str | None = None) -> Path:
    """Return the file of that precision in a model's folder. way_out: advice if there is none."""
    plain, small = (folder / onnx_file(kind) for kind in (FP32, INT8))
    chosen = small if precision == INT8 or (precision == AUTO and multiplies_int8_fast()) else plain
    if precision == AUTO and not chosen.is_file():
        chosen = small if chosen is plain else plain
    if chosen.is_file():
        return chosen
    if precision == INT8 and plain.is_file():
        raise UsageError(f"model {folder.resolve().name} has no int8 file; use --precision fp32")
    raise ModelError(f"{chosen}: no such model file; {way_out or _way_out_of(folder)}")


def _way_out_of(folder: Path) -> str:
    """Return advice for a user's folder without a model file."""
    exported = sorted(path.parent for path in folder.glob(f"*/{onnx_file(FP32)}"))
    others = exported or sorted(folder.glob("*.onnx"))
    if others:
        return f"give --model {' or '.join(map(str, others[:MOST_NAMED]))}"
    if (folder / CHECKPOINT).is_file():
        place = folder.resolve()
        return f"export its checkpoint first: cxr-export {place.name} --weights {place.parent}"
    return "give --model a folder that cxr-export wrote, or an .onnx file"


def _no_model(name: str, path: Path) -> str:
    """Return the message for a name that is neither a model, a folder, nor an .onnx file."""
    if path.suffix == CHECKPOINT_SUFFIX:
        return f"{path}: is a training checkpoint; export it with cxr-export and give its model.onnx"
    if path.exists():
        return f"{path}: does not end in .onnx; give {', '.join(MODEL_NAMES)}, a model's folder or its .onnx file"
    like = get_close_matches(name.lower(), MODEL_NAMES, 1)
    meant = f"did you mean {like[0]}? Use" if like else "use"
    return f"unknown model {name!r}; {meant} {', '.join(MODEL_NAMES)}, a model's folder or the path of an .onnx file"


@dataclass(frozen=True)
class InstalledModel:
    """A shipped model file on disk; `intact` says whether it matches the SHA-256 of its card."""

    name: str
    precision: str
    purpose: str
    path: Path
    bytes: int
    sha256: str
    intact: bool


def installed_models() -> list[InstalledModel]:
    """List the shipped model files. Raises ModelError if the float32 file or the card of a model is missing."""
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


def noise_estimate() -> InstalledModel | None:
    """Return the file that computes the noise level told to models; None if the manifest has none.

    It has no card: `intact` says whether it matches the manifest. Raises ModelError if the manifest is unusable.
    """
    entry = read_noise_estimate(weights_directory())
    if entry is None:
        return None
    there = entry.path.is_file()
    digest, size = (sha256(entry.path), entry.path.stat().st_size) if there else ("", 0)
    return InstalledModel(entry.path.stem, FP32, NOISE_PURPOSE, entry.path, size, digest, digest == entry.sha256)


def is_intact(path: Path, digest: str) -> bool:
    """Whether a shipped file with this hex SHA-256 matches its card. Raises ModelError if the card is unusable."""
    return bool(read_card_file(card_path(path)).get("sha256") == digest)
