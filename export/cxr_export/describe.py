"""Write everything for other programs beside the ONNX files: noise estimate, test tensors, BioImage.IO, manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_export.bioimageio import write_bioimageio
from cxr_export.cases import Arrays, add_expected, write_inputs
from cxr_export.manifest import file_entry, manifest, model_entry
from cxr_export.manifest_schema import manifest_schema
from cxr_export.noise_level import export_noise_level
from cxr_infer.errors import ModelError
from cxr_infer.files import write_bytes
from cxr_infer.model.card import (
    FP32,
    INT8,
    MODEL_NAMES,
    NOISE_LEVEL,
    NOISE_LEVEL_FILE,
    card_path,
    onnx_file,
    read_card_file,
    sha256,
)
from cxr_infer.model.denoiser import Model
from cxr_infer.model.manifest import MANIFEST, SCHEMA
from cxr_infer.model.session import read_model


def describe(weights: Path) -> list[str]:
    """Write all files derived from the ONNX files of a weights directory and their cards, which stay unchanged.

    Returns the names of the models described; without any, nothing is written. Raises ModelError if a file and its card
    do not match.
    """
    folders = [weights / name for name in MODEL_NAMES if (weights / name / onnx_file(FP32)).is_file()]
    models = {folder.name: _describe(folder, Arrays(weights)) for folder in folders}
    if models:
        _write_json(weights / SCHEMA, manifest_schema())
        _write_json(weights / MANIFEST, manifest(models, _noise_level(weights, models)))
    return list(models)


def _noise_level(weights: Path, models: Mapping[str, Any]) -> Path | None:
    """Write the noise estimate if any model is told the noise level."""
    path = weights / NOISE_LEVEL_FILE
    if not any(tensor["name"] == NOISE_LEVEL for model in models.values() for tensor in model["inputs"]):
        path.unlink(missing_ok=True)
        return None
    export_noise_level(weights)
    return path


def _describe(folder: Path, arrays: Arrays) -> dict[str, Any]:
    """Write the files of one model. Returns its manifest entry."""
    plain = _opened(folder / onnx_file(FP32))
    test = write_inputs(arrays, folder, plain.card)
    files = {}
    for precision in (FP32, INT8):
        path = folder / onnx_file(precision)
        if path.is_file():
            model = plain if precision == FP32 else _opened(path)
            add_expected(test, arrays, folder, model)
            files[precision] = file_entry(model.card, path)
    entry = model_entry(plain.card, files, test)
    write_bioimageio(folder, plain, entry)
    return entry


def _opened(path: Path) -> Model:
    digest = sha256(path)
    if read_card_file(card_path(path)).get("sha256") != digest:
        raise ModelError(f"{path}: does not match the SHA-256 of its card; export it again")
    return Model.open(read_model(path), path)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())
