"""Read `weights/manifest.json`: every shipped file as data for programs in any language, written by `cxr-export`.

This package reads only hashes and test tensors; `manifest.schema.json` beside it describes everything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_infer.errors import ModelError
from cxr_infer.files import open_plain, read_object
from cxr_infer.imaging.pixels import Float32Array
from cxr_infer.model.card import DENOISED, NOISY
from cxr_infer.settings import Settings

MANIFEST, SCHEMA = "manifest.json", "manifest.schema.json"


@dataclass(frozen=True)
class ImageCase:
    """A whole image and its expected result.

    noisy, denoised: (H, W) float32 in [0, 1]. settings: include windows if the model has them.
    """

    noisy: Float32Array
    denoised: Float32Array
    settings: Settings


@dataclass(frozen=True)
class FileEntry:
    """The manifest's entry for a model file.

    path: of the file. tolerance: largest acceptable difference on [0, 1] pixels. folder: of the manifest. test: its
    model's test tensors, as file names.
    """

    name: str
    precision: str
    path: Path
    sha256: str
    tolerance: float
    folder: Path
    test: Mapping[str, Any]

    def tensors(self) -> tuple[dict[str, Float32Array], dict[str, Float32Array]]:
        """Return the graph's test inputs and expected outputs, by name. Raises ModelError if one is missing."""
        inputs, expected = self.test["inputs"], self.test["expected"][self.precision]
        if NOISY not in inputs or DENOISED not in expected:
            raise ModelError(f"{self.folder / MANIFEST}: lacks test tensors of {self.path.name}; reinstall cxr-infer")
        return self._loaded(inputs), self._loaded(expected)

    def image_case(self) -> ImageCase:
        """Return the whole-image test case. Raises ModelError if it is missing."""
        image = self.test["image"]
        arrays = self._loaded({"noisy": image["noisy"], "denoised": image["expected"][self.precision]})
        settings = Settings(window=image["window"], overlap=image["overlap"])
        return ImageCase(arrays["noisy"], arrays["denoised"], settings)

    def _loaded(self, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Float32Array]:
        return {name: _load(self.folder / entry["npy"]) for name, entry in entries.items()}


@dataclass(frozen=True)
class NoiseEntry:
    """The manifest's entry for the file that estimates the noise.

    tolerance: largest acceptable difference as a fraction of the level. expected: files of test images and their
    expected noise levels.
    """

    path: Path
    sha256: str
    tolerance: float
    expected: tuple[tuple[Path, float], ...]

    def cases(self) -> list[tuple[Float32Array, float]]:
        """Return images (H, W) in [0, 1] and their levels. Raises ModelError if there are none."""
        if not self.expected:
            raise ModelError(
                f"{self.path.parent / MANIFEST}: lacks test images of {self.path.name}; reinstall cxr-infer"
            )
        return [(_load(path), level) for path, level in self.expected]


def _load(path: Path) -> Float32Array:
    """Load a test tensor. Raises ModelError if it is missing or damaged."""
    try:
        with open_plain(path) as file:
            return np.asarray(np.load(file, allow_pickle=False), dtype=np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"{path}: test tensor missing or damaged; reinstall cxr-infer") from error


def read_noise_estimate(folder: Path) -> NoiseEntry | None:
    """Return the entry of the noise estimate; None if the manifest has none. Raises ModelError like `read_manifest`."""
    with _reading(folder) as content:
        file = content.get("noise_estimate")
        if file is None:
            return None
        images = [model["test"]["image"] for model in content["models"].values()]
        expected = [
            (folder / i["noisy"]["npy"], float(i["noise_level"])) for i in images if i["noise_level"] is not None
        ]
        return NoiseEntry(folder / file["file"], file["sha256"], float(file["tolerance"]), tuple(expected))


def read_manifest(folder: Path) -> list[FileEntry]:
    """Return the entries of all model files in a weights folder's manifest. Raises ModelError if it is unusable."""
    with _reading(folder) as content:
        return [entry for name, model in content["models"].items() for entry in _entries(folder, name, model)]


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the manifest of a weights folder. Raises ModelError if it is missing, or lacks what the caller looks up."""
    path = folder / MANIFEST
    try:
        yield read_object(path)
    except OSError as error:
        raise ModelError(f"{path}: no manifest; reinstall cxr-infer or run cxr-export --describe") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: damaged manifest; reinstall cxr-infer or run cxr-export --describe") from error


def _entries(folder: Path, name: str, model: Mapping[str, Any]) -> Iterator[FileEntry]:
    for precision, file in model["files"].items():
        path, tolerance = folder / file["file"], float(file["tolerance"])
        yield FileEntry(name, precision, path, file["sha256"], tolerance, folder, model["test"])
