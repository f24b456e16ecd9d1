"""Settings of reading and denoising, and all defaults. Imports little, so that `--help` is fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Final

from cxr_infer.errors import UsageError

DEFAULT_MEMORY = 320  # MB: splits 4096x4096 px into 3x5 windows, whose overlaps cost less than those of 4x4
MAX_PIXELS = 100_000_000  # per image: the largest detectors have 20 million, stitched spine images 60
WEB_PORT = 8470  # default port of `cxr-infer web`
KEEP: Final = "keep"  # compress DICOM results like their sources
NONE: Final = "none"
REPORT_LIMIT = 100  # images in an HTML report
FIGURE_DPI = 150  # of the figure by `compare`
# by annotation of a field: the values it takes, NumPy's numbers included; the type they get; its name in messages
FIELD_TYPES: Final[dict[str, tuple[type, Callable[[Any], object], str]]] = {
    "int": (Integral, int, "a whole number"),
    "float": (Real, float, "a number"),
    "bool": (bool, bool, "True or False"),
    "str": (str, str, "text"),
}


def _convert(options: Settings | ReadOptions) -> None:
    """Give equal values one type: results are recorded, and DICOM UIDs made, from the text of the settings.

    Raises UsageError for a value of a wrong type.
    """
    for field in fields(options):
        value = getattr(options, field.name)
        annotation, _, optional = str(field.type).partition(" | ")
        kind, convert, words = FIELD_TYPES[annotation]
        if isinstance(value, kind):
            object.__setattr__(options, field.name, convert(value))  # the class is frozen
        elif not (optional and value is None):
            raise UsageError(f"{field.name} {value!r} has the wrong type; give {words}")


@dataclass(frozen=True)
class Settings:
    """How an image is denoised and its result written.

    Attributes:
        strength: Blends between the input (0) and the network's result (1).
        window: Side of a window in px, without the overlap. None: as large as `memory` allows.
        overlap: Least overlap of neighbouring windows in px. None: the model's own.
        repair_wrapped: Undo the wrap-around of 8-bit noise first.
        memory: MB available to the network; sets the size of windows and how many run at once. The program itself takes
            about 110 MB plus 20 bytes per pixel.
        compress: Compression of DICOM results: `keep` compresses losslessly with the codec of the source, `none` does
            not compress.
    """

    strength: float = 1.0
    window: int | None = None
    overlap: int | None = None
    repair_wrapped: bool = False
    memory: int = DEFAULT_MEMORY
    compress: str = NONE

    def __post_init__(self) -> None:
        _convert(self)
        if not 0.0 <= self.strength <= 1.0:
            raise UsageError(f"strength {self.strength:g} is outside 0..1")
        if self.window is not None and self.window < 1:
            raise UsageError(f"window {self.window} px is too small; use 1 or more")
        if self.overlap is not None and self.overlap < 0:
            raise UsageError(f"overlap {self.overlap} px is negative; use 0 or more")
        if self.memory < 1:
            raise UsageError(f"memory {self.memory} MB is too little; use about {DEFAULT_MEMORY}")
        if self.compress not in (KEEP, NONE):
            raise UsageError(f"unknown --compress {self.compress!r}; use {KEEP} or {NONE}")


@dataclass(frozen=True)
class ReadOptions:
    """How files and arrays are read, originals and references alike.

    Attributes:
        max_pixels: Most pixels (width x height) of an image; larger ones are refused by their header.
        white: Stored value that means white in 16-bit pictures whose header does not state it. None: 65535.
        invert: Whether black and white are swapped in the files. They are swapped for the model, and back in the
            result.
    """

    max_pixels: int = MAX_PIXELS
    white: int | None = None
    invert: bool = False

    def __post_init__(self) -> None:
        _convert(self)
        if self.max_pixels < 1:
            raise UsageError(f"max-pixels {self.max_pixels} is too small; use about {MAX_PIXELS}")
        if self.white is not None and not 1 <= self.white <= 65535:
            raise UsageError(f"white {self.white} is outside 1..65535, the values of 16-bit pictures")
