"""The one contract between training, export and inference: what a model file is and how its input is made.

`card.json` lies beside `model.onnx`, `card.int8.json` beside `model.int8.onnx`. The same card, less the facts about the
file itself, travels inside the ONNX file under the metadata key `cxr_infer`, so that a file that was copied elsewhere
still explains itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cxr_infer.errors import ModelError

MODEL_NAMES = ("original", "new", "window")
FP32, INT8 = "fp32", "int8"  # precisions
# Largest difference from the expected output, on [0, 1] pixels, that another runtime or CPU may make: a fortieth of an
# 8-bit gray level. On 8-bit grids a sum that lies between two places may fall to either side.
TOLERANCES = {FP32: 1e-4, INT8: 0.01}
METADATA_KEY = "cxr_infer"
FORMAT = 1

NOISY = "noisy"  # input: (N, 1, H, W) float32 in [0, 1]
NOISE_LEVEL = "noise_level"  # input of models that are told the noise: (N,) float32
DENOISED = "denoised"  # output: as `noisy`

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or any clinical decision."
CITATION = (
    "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers. ChestX-ray8: Hospital-scale Chest X-ray Database and "
    "Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. IEEE CVPR, "
    "pp. 3462-3471, 2017. Data provided by the NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC"
)

@dataclass(frozen=True)
class ModelCard:
    """What a model is. `multiple`, `window` and `overlap` belong to models with free height and width."""

    name: str
    purpose: str
    size: int | None = None  # px: the fixed side to which images are resized; None where height and width are free
    multiple: int = 1  # px: height and width of a window are divisible by it
    window: int = 1024  # px: windows of up to (window + overlap)^2 pixels are a good choice for programs that embed it
    overlap: int = 128  # px: least overlap of neighbouring windows by default
    memory_per_pixel: int = 240  # bytes that onnxruntime takes at most for a pixel of a window
    told_noise_level: bool = False  # has the input `noise_level`, as `estimate_mottle` gives it
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
    format: int = FORMAT

    def to_metadata(self) -> str:
        """The card as the JSON text that the ONNX file carries."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_mapping(content: Mapping[str, Any], source: str) -> ModelCard:
        """The card from parsed JSON; keys of newer versions are ignored. Raises ModelError naming `source`."""
        known = {f.name for f in fields(ModelCard)}
        try:
            chosen = {key: value for key, value in content.items() if key in known}
            if chosen.get("precision") == "float32":  # as files say that were exported before there was int8
                chosen["precision"] = FP32
            card = ModelCard(**{**chosen, "pixel_range": tuple(chosen.get("pixel_range", (0.0, 1.0)))})
        except (TypeError, AttributeError) as error:
            raise ModelError(f"{source}: its card is incomplete ({error}); export it again with cxr-export") from error
        sizes = (card.multiple, card.window, card.memory_per_pixel, card.size if card.size is not None else 1)
        whole = all(type(number) is int for number in (*sizes, card.overlap))
        if not whole or min(sizes) < 1 or card.overlap < 0 or not isinstance(card.name, str):
            raise ModelError(f"{source}: its card gives sizes that cannot be; export it again with cxr-export")
        return card


def onnx_file(precision: str) -> str:
    """The name of a model's file of that precision."""
    return "model.onnx" if precision == FP32 else f"model.{precision}.onnx"


def card_path(onnx: Path) -> Path:
    """Where the card of an ONNX file lies."""
    return onnx.with_name(onnx.name.replace("model", "card").removesuffix(".onnx") + ".json")


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(card: ModelCard, onnx: Path) -> str:
    """The text of the card file of an exported file: the card plus the file's name, bytes and SHA-256."""
    facts = {"file": onnx.name, "bytes": onnx.stat().st_size, "sha256": sha256(onnx)}
    return json.dumps({**asdict(card), **facts}, indent=2, sort_keys=True) + "\n"


def read_card_file(path: Path) -> dict[str, Any]:
    """The content of a card file. Raises ModelError where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: no model card; export the model with cxr-export or reinstall") from error
    except ValueError as error:
        raise ModelError(f"{path}: damaged model card; export the model with cxr-export or reinstall") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: damaged model card; export the model with cxr-export or reinstall")
    return content


def weights_directory() -> Path:
    """Where the shipped models lie: inside the installed package, or in the checkout of an editable install."""
    package = Path(__file__).resolve().parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"
