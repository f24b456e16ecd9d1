"""Write weights/<model>/test/: inputs of a graph and their expected outputs, for programs in any language.

Every array is stored as `.npy`, and small ones also as `.bin`: values only, float32, little endian, C order. The values
of a large one are read from its `.npy`, where they begin at the manifest's `raw_offset`.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ModelError
from cxr_infer.files import write_bytes
from cxr_infer.imaging.mottle import poisson_mottle, recipe_level, to_square_root_level
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import Float32Array, from_unit, to_unit
from cxr_infer.model.card import DENOISED, FP32, ModelCard
from cxr_infer.model.denoiser import Model
from cxr_infer.settings import Settings
from cxr_infer.untrusted_json import JsonObject

FOLDER, IMAGE = "test", "image"
SEED = 11  # for phantoms and mottle
DOSES = (71.0, 200.0)  # photons at white, one per image of the batch; the first is the published dose
HEIGHT, WIDTH = 64, 96  # px, of the tensors of a model with free height and width
IMAGE_HEIGHT, IMAGE_WIDTH = 118, 150  # px: not multiples of any window or padding; three by four windows
IMAGE_WINDOW, IMAGE_OVERLAP = 32, 32  # px
RAW_MOST = 1 << 16  # bytes of values up to which an array is also stored as `.bin`: all models together may take 60 MB


class Arrays:
    """Writes arrays into a weights directory."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights

    def write(self, place: str, array: NDArray[np.floating]) -> JsonObject:
        """Write an array and return its manifest entry. place: path below the directory, without suffix.

        Raises ModelError if a value is not finite, because no program could be compared with it.
        """
        if not np.isfinite(array).all():
            raise ModelError(f"{self._weights / place}: the model returns non-finite values; train it again")
        values = np.ascontiguousarray(array, dtype="<f4")
        raw = values.tobytes()
        npy = io.BytesIO()
        np.save(npy, values, allow_pickle=False)
        entry: JsonObject = {"npy": f"{place}.npy", "raw": f"{place}.npy", "raw_offset": npy.tell() - len(raw)}
        write_bytes(self._weights / entry["npy"], npy.getvalue())
        if len(raw) <= RAW_MOST:
            entry = {**entry, "raw": f"{place}.bin", "raw_offset": 0}
            write_bytes(self._weights / entry["raw"], raw)
        return {**entry, "shape": list(values.shape)}


def write_inputs(arrays: Arrays, folder: Path, card: ModelCard) -> dict[str, Any]:
    """Recreate the test folder of a model with the graph's inputs and the whole image.

    folder: weights/<model>. Returns its manifest entry, without expected outputs.
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    place = f"{folder.name}/{FOLDER}"
    windowed = card.size is None
    noisy = image_of_case()
    image = {
        "noisy": arrays.write(f"{place}/{IMAGE}", noisy),
        "window": IMAGE_WINDOW if windowed else None,
        "overlap": IMAGE_OVERLAP if windowed else None,
        "noise_level": recipe_level(noisy) if card.told_noise_level else None,
        "expected": {},
    }
    inputs = {name: arrays.write(f"{place}/{name}", array) for name, array in _inputs(card).items()}
    return {"inputs": inputs, "expected": {}, "image": image}


def add_expected(test: dict[str, Any], arrays: Arrays, folder: Path, model: Model) -> None:
    """Write the results of a model file for the inputs, and add them to the model's manifest entry."""
    card, place = model.card, f"{folder.name}/{FOLDER}"
    infix = "" if card.precision == FP32 else f".{card.precision}"
    (denoised,) = model.session.run([DENOISED], _inputs(card))
    test["expected"][card.precision] = {DENOISED: arrays.write(f"{place}/{DENOISED}{infix}", denoised)}
    settings = Settings(window=test["image"]["window"], overlap=test["image"]["overlap"])
    image = model.denoise_unit(image_of_case(), settings)
    test["image"]["expected"][card.precision] = arrays.write(f"{place}/{IMAGE}.{DENOISED}{infix}", image)


def image_of_case() -> Float32Array:
    """Return the whole image, (H, W) float32 in [0, 1], whose sides are not multiples of any window or padding."""
    return _noisy(IMAGE_HEIGHT, IMAGE_WIDTH, DOSES[1])


def _inputs(card: ModelCard) -> dict[str, Float32Array]:
    """Return two windows with different noise, or one whole image if it is large."""
    doses = DOSES if card.size is None else DOSES[:1]
    height, width = (HEIGHT, WIDTH) if card.size is None else (card.size, card.size)
    noisy = np.stack([_noisy(height, width, dose) for dose in doses])[:, None]
    return card.feed(noisy, to_square_root_level(doses))


def _noisy(height: int, width: int, dose: float) -> Float32Array:
    """Return the middle of a noisy phantom, rounded as in an 8-bit file: (height, width) float32 in [0, 1]."""
    side = 2 * max(height, width) if max(height, width) < 256 else max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    clean = render_phantom(SEED, side)[top : top + height, left : left + width]
    noisy = poisson_mottle(clean, dose, np.random.default_rng([SEED, int(dose)]))
    return to_unit(from_unit(noisy, np.dtype(np.uint8)))
