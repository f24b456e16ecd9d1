"""Write weights/<model>/rdf.yaml: the model in the format of the BioImage.IO collection (0.5), with a cover."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import yaml

from cxr_infer.files import write_bytes
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import to_bytes
from cxr_infer.model.card import FP32, TOLERANCES, ModelCard, sha256
from cxr_infer.model.denoiser import Model
from cxr_infer.settings import Settings
from cxr_infer.untrusted_json import JsonObject

FORMAT_VERSION = "0.5.12"
RDF, COVER, DOCUMENTATION = "rdf.yaml", "cover.png", "README.md"
REPOSITORY_AUTHORS = [{"name": "the cxr-infer authors"}]
CITATION_DOI = "10.1109/CVPR.2017.369"  # of ModelCard.citation
TAGS = ["chest-x-ray", "radiography", "denoising", "quantum-mottle", "image-restoration", "2d", "onnx"]
COVER_SIDE, COVER_SEED, COVER_DOSE = 256, 5, 71.0  # px, photons at white
LONGEST_DESCRIPTION = 128  # characters, of a tensor's description


def write_bioimageio(folder: Path, model: Model, entry: JsonObject) -> None:
    """Write rdf.yaml and the cover of a model. folder: weights/<model>. entry: the model's entry in the manifest."""
    write_bytes(folder / COVER, _cover(model))
    text = yaml.safe_dump(_description(folder, model.card, entry), sort_keys=False, allow_unicode=True, width=120)
    write_bytes(folder / RDF, text.encode())


def _description(folder: Path, card: ModelCard, entry: JsonObject) -> JsonObject:
    file = entry["files"][FP32]
    onnx = Path(file["file"]).name
    description: JsonObject = {
        "type": "model",
        "format_version": FORMAT_VERSION,
        "name": f"Chest X-ray mottle removal ({card.name})",
        "description": card.purpose,
        "authors": REPOSITORY_AUTHORS,
        "cite": [{"text": card.citation, "doi": CITATION_DOI}],
        "license": card.licence,
        "tags": TAGS,
        "covers": [{"source": COVER}],
        "version": card.code_version,
        "inputs": [_tensor(folder, one, entry["test"]["inputs"]) for one in entry["inputs"]],
        "outputs": [_tensor(folder, one, entry["test"]["expected"][FP32], "noisy") for one in entry["outputs"]],
        "weights": {"onnx": {"source": onnx, "sha256": file["sha256"], "opset_version": card.opset}},
        "config": _config(card),
    }
    if (folder / DOCUMENTATION).is_file():
        description["documentation"] = {"source": DOCUMENTATION}
    return description


def _config(card: ModelCard) -> JsonObject:
    tolerance = {
        "absolute_tolerance": TOLERANCES[FP32],
        "relative_tolerance": 0.0,
        "mismatched_elements_per_million": 0,
    }
    return {
        "bioimageio": {
            "reproducibility_tolerance": [tolerance],
            "model_parameter_count": card.parameters,
            "modality": "chest radiography",
            "task": "denoising",
            "out_of_scope_use": card.limits,
        },
        "cxr_infer": {
            "manifest": "../manifest.json",
            "processing": "the manifest defines all steps before and after the network as data",
        },
    }


def _tensor(folder: Path, tensor: JsonObject, arrays: JsonObject, like: str | None = None) -> JsonObject:
    """like: the input that an output's free sides match."""
    path = folder.parent / arrays[tensor["name"]]["npy"]
    low, high = tensor["range"]
    return {
        "id": tensor["name"],
        "description": tensor["meaning"][:LONGEST_DESCRIPTION],
        "axes": [_axis(axis, like) for axis in tensor["axes"]],
        "data": {"type": tensor["dtype"], "range": [low, high]},
        "test_tensor": {"source": Path(os.path.relpath(path, folder)).as_posix(), "sha256": sha256(path)},
    }


def _axis(axis: JsonObject, like: str | None) -> JsonObject:
    if axis["name"] == "batch":
        return {"type": "batch"}
    if axis["name"] == "channel":
        return {"type": "channel", "channel_names": ["gray"]}
    name = {"height": "y", "width": "x"}[axis["name"]]
    if axis["size"] is not None:
        return {"type": "space", "id": name, "size": axis["size"]}
    free = {"min": axis["minimum"], "step": axis["multiple_of"]}
    return {"type": "space", "id": name, "size": {"tensor_id": like, "axis_id": name} if like is not None else free}


def _cover(model: Model) -> bytes:
    """Draw a phantom: the left half with mottle, the right half denoised, forming one chest."""
    clean = render_phantom(COVER_SEED, COVER_SIDE)
    noisy = np.minimum(poisson_mottle(clean, COVER_DOSE, np.random.default_rng(COVER_SEED)), 1)
    half = np.concatenate(
        [noisy[:, : COVER_SIDE // 2], model.denoise_unit(noisy, Settings())[:, COVER_SIDE // 2 :]], axis=1
    )
    return bytes(cv2.imencode(".png", to_bytes(half), (cv2.IMWRITE_PNG_COMPRESSION, 9))[1])
