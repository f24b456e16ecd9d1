"""The contract between training, export and inference: what a model file is and how its input is made.

`card.json` belongs to `model.onnx`, `card.int8.json` to `model.int8.onnx`. The same card, without the facts about the
file itself, is stored in the ONNX file under the metadata key `cxr_infer`, so that a copied file still explains itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_infer.errors import ModelError
from cxr_infer.files import open_plain, read_object

MODEL_NAMES = ("original", "new", "window")
FP32, INT8 = "fp32", "int8"  # precisions
# Largest allowed difference from the expected output, on [0, 1] pixels, on another runtime or CPU: a fortieth of an
# 8-bit gray level. On 8-bit grids a sum halfway between two steps may be rounded either way.
TOLERANCES = {FP32: 1e-4, INT8: 0.01}
METADATA_KEY = "cxr_infer"
CARD_FORMAT = 1

NOISY = "noisy"  # input: (N, 1, H, W) float32 in [0, 1]
NOISE_LEVEL = "noise_level"  # input of models that are told the noise: (N,) float32
DENOISED = "denoised"  # output: as `noisy`
CHECKPOINT_SUFFIX = ".safetensors"
# in the folder of a run, and of a model: the best averaged weights, which are exported
CHECKPOINT = f"checkpoint{CHECKPOINT_SUFFIX}"
NOISE_LEVEL_FILE = "noise_level.onnx"  # in a weights directory: `noisy` of a whole image -> `noise_level`

# minimum and maximum of each field of a card, far beyond any network that a CPU would run
BOUNDS = {
    "size": (1, 4096),  # px
    "multiple": (1, 1024),  # px
    "window": (1, 1 << 16),  # px
    "overlap": (0, 1 << 16),  # px
    "memory_per_pixel": (1, 1_000_000),  # bytes
    "opset": (0, 1000),
    "parameters": (0, 1 << 40),
    "format": (1, 1000),
}
MOST_CHARACTERS = dict.fromkeys(("name", "precision", "code_version"), 100) | dict.fromkeys(
    ("purpose", "noise_level_recipe", "citation", "licence", "limits"), 10_000
)

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or any clinical decision."
CITATION = (
    "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers. ChestX-ray8: Hospital-scale Chest X-ray Database and "
    "Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. IEEE CVPR, "
    "pp. 3462-3471, 2017. Data provided by the NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC"
)
NOISE_LEVEL_RECIPE = (
    "One number per image, shared by all its windows: the standard deviation of sqrt(pixel) for pixels in [0, 1] "
    "(0.5 / sqrt(photons at white) for Poisson mottle). Estimate: (1) high-pass with "
    "[1 -2 1; -2 4 -2; 1 -2 1] / 6, taps 3 px apart, mirrored at the border without repeating the edge pixel; "
    "(2) in whole 8x8 blocks from the top left take the mean m of the image and the mean v of the squared high-pass; "
    "(3) sort the blocks into 24 equal bins of m over [0.05, 0.9), keep bins of at least 25 blocks of whose pixels at "
    "most 2% are exactly 0 or 1; (4) with n blocks, mean m and median v per bin, "
    "noise_level = sqrt(sum(n * v / (4 * m)) / sum(n)), at most 0.5. Fallback where no bin is left: one bin of all "
    "blocks with m > 0 that are not wholly saturated, median v over mean m; an image below 8 px: 0."
)


@dataclass(frozen=True)
class ModelCard:
    """Describes a model. `multiple`, `window` and `overlap` apply to models with free height and width."""

    name: str
    purpose: str
    size: int | None = None  # px: fixed side that images are resized to; None if height and width are free
    multiple: int = 1  # px: height and width of a window are divisible by it
    window: int = 1024  # px: windows of up to (window + overlap)^2 pixels suit programs that embed the model
    overlap: int = 128  # px: default minimum overlap of neighbouring windows
    memory_per_pixel: int = 240  # bytes that onnxruntime needs at most per pixel of a window
    told_noise_level: bool = False  # has the input `noise_level`
    noise_level_recipe: str = ""
    pixel_range: tuple[float, float] = (0.0, 1.0)  # black, white
    opset: int = 0
    precision: str = FP32
    parameters: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # on the validation patients
    citation: str = CITATION
    licence: str = "MIT"
    limits: str = RESEARCH_USE
    code_version: str = ""
    format: int = CARD_FORMAT

    def feed(self, noisy: ArrayLike, level: ArrayLike) -> dict[str, NDArray[np.float32]]:
        """Return the inputs of the graph by name.

        noisy: (N, 1, H, W) in [0, 1]. level: noise level as defined by `noise_level_recipe`, one for all images or
        (N,); omitted if the model is not told it.
        """
        images = np.asarray(noisy, dtype=np.float32)
        if not self.told_noise_level:
            return {NOISY: images}
        return {NOISY: images, NOISE_LEVEL: np.full(len(images), level, dtype=np.float32)}

    def to_metadata(self) -> str:
        """Return the card as the JSON text stored in the ONNX file."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_mapping(content: Mapping[str, Any], source: str) -> ModelCard:
        """Build a card from parsed JSON; unknown keys, of newer versions, are ignored. Raises ModelError naming
        `source`.
        """
        known = {f.name for f in fields(ModelCard)}
        try:
            chosen = {key: value for key, value in content.items() if key in known}
            if chosen.get("precision") == "float32":  # in files exported before int8 was added
                chosen["precision"] = FP32
            card = ModelCard(**{**chosen, "pixel_range": tuple(chosen.get("pixel_range", (0.0, 1.0)))})
        except (TypeError, AttributeError) as error:
            raise ModelError(f"{source}: its card is incomplete: {error}; export it again with cxr-export") from error
        wrong = next(card._impossible(), None)
        if wrong is not None:
            raise ModelError(f"{source}: its card has an invalid {wrong}; export it again with cxr-export")
        return card

    def _impossible(self) -> Iterator[str]:
        """Yield the names of fields with invalid values."""
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if not (type(value) is int and least <= value <= most) and not (name == "size" and value is None):
                yield name
        for name, most in MOST_CHARACTERS.items():
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > most:
                yield name
        if type(self.told_noise_level) is not bool:
            yield "told_noise_level"
        black_white = self.pixel_range
        if len(black_white) != 2 or not all(map(_is_finite, black_white)) or black_white[0] >= black_white[1]:
            yield "pixel_range"
        for name in ("training", "data", "metrics"):
            if not isinstance(getattr(self, name), Mapping):
                yield name
        if isinstance(self.metrics, Mapping) and not all(map(_is_finite, self.metrics.values())):
            yield "metrics"


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def onnx_file(precision: str) -> str:
    """Return the file name of a model of that precision."""
    return "model.onnx" if precision == FP32 else f"model.{precision}.onnx"


def card_path(onnx: Path) -> Path:
    """Return the path of an ONNX file's card."""
    return onnx.with_name(onnx.name.replace("model", "card").removesuffix(".onnx") + ".json")


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a plain file. Raises ImageError if it is not a plain file, and OSError."""
    with open_plain(path) as file:
        return hashlib.sha256(file.read()).hexdigest()


def write_card(card: ModelCard, onnx: Path, more: Mapping[str, Any]) -> str:
    """Return the text of an exported file's card: the card, the file's name, bytes and SHA-256, and `more`."""
    facts = {"file": onnx.name, "bytes": onnx.stat().st_size, "sha256": sha256(onnx)}
    return json.dumps({**asdict(card), **facts, **more}, indent=2, sort_keys=True) + "\n"


def read_card_file(path: Path) -> dict[str, Any]:
    """Return the content of a card file. Raises ModelError if it is missing or damaged."""
    try:
        return read_object(path)
    except OSError as error:
        raise ModelError(f"{path}: no model card; export the model with cxr-export or reinstall cxr-infer") from error
    except ValueError as error:
        raise ModelError(
            f"{path}: damaged model card; export the model with cxr-export or reinstall cxr-infer"
        ) from error


def weights_directory() -> Path:
    """Return the folder of the shipped models: in the installed package, or in the checkout of an editable install."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"
