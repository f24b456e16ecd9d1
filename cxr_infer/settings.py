"""How an image is read and denoised. Light, so that the command line can show defaults without loading anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cxr_infer.errors import UsageError

DEFAULT_MEMORY = 320  # MB: enough to split 4096x4096 px into 3x5 windows, whose overlaps cost less than those of 4x4
MAX_PIXELS = 100_000_000  # of one image: the largest detectors have 20 million, stitched spines 60
WEB_PORT = 8470  # of `cxr-infer web`
KEEP: Final = "keep"  # how DICOM results are compressed: as their sources
NONE: Final = "none"
REPORT_LIMIT = 100  # images that an HTML report shows
FIGURE_DPI = 150  # of the figure that `compare` draws


@dataclass(frozen=True)
class Settings:
    """How an image is denoised and its result written.

    Attributes:
        strength: 0 returns the input, 1 the network's result; between them the residual is blended.
        window: Side of a window in px, without the overlap. None: as large as `memory` allows.
        overlap: Least px that neighbouring windows share. None: the model's own.
        repair_wrapped: First undo the wrap-around of 8-bit noise.
        memory: MB that the network may take: it decides how large windows are and how many run together. The program
            itself takes about 110 MB and 20 bytes a pixel more.
        compress: Of DICOM: `keep` compresses a result without loss in the family of its source, `none` leaves it
            uncompressed.
    """

    strength: float = 1.0
    window: int | None = None
    overlap: int | None = None
    repair_wrapped: bool = False
    memory: int = DEFAULT_MEMORY
    compress: str = NONE

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise UsageError(f"strength {self.strength:g} is outside 0..1")
        if self.window is not None and self.window < 1:
            raise UsageError(f"window {self.window} px is too small; use 1 or more")
        if self.overlap is not None and self.overlap < 0:
            raise UsageError(f"overlap {self.overlap} px is negative; use 0 or more")
        if self.memory < 1:
            raise UsageError(f"memory {self.memory} MB is too little; use {DEFAULT_MEMORY} or so")
        if self.compress not in (KEEP, NONE):
            raise UsageError(f"unknown --compress {self.compress!r}; use {KEEP} or {NONE}")


@dataclass(frozen=True)
class ReadOptions:
    """How files and arrays are read: the same for originals, references and whatever else is compared with them.

    Attributes:
        max_pixels: Width x height that one image may have; a header that promises more is refused.
        white: Stored value that means white in 16-bit pictures whose header does not say. None: 65535.
        invert: Black and white are swapped in the stored values. The model sees them the right way round; the result is
            swapped as its source is.
    """

    max_pixels: int = MAX_PIXELS
    white: int | None = None
    invert: bool = False

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise UsageError(f"max-pixels {self.max_pixels} is too small; use {MAX_PIXELS} or so")
        if self.white is not None and not 1 <= self.white <= 65535:
            raise UsageError(f"white {self.white} is outside 1..65535, the values of 16-bit pictures")
