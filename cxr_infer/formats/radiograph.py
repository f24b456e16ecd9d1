"""The interface of all X-ray files: stored pixels, and their conversion for the model and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import FloatImage, Pixels
from cxr_infer.settings import Settings

# Version of the processing from stored values to the network and back: decoding, windows, scales, estimates, rounding.
# Raise it with every change that gives other pixels for the same file, model and settings: earlier results then count
# as outdated, and DICOM results get other UIDs.
METHOD = 3


def check_deidentify(choice: str) -> None:
    """Raise UsageError for anything but `no`: de-identification needs a dedicated tool."""
    if choice != "no":
        raise UsageError(f"--deidentify {choice} is not supported, only no; use a dedicated de-identification tool")


@dataclass(frozen=True)
class Provenance:
    """Software, model and settings that made a result; recorded in it if its format allows."""

    version: str  # of cxr-infer
    model: str  # its name and precision
    sha256: str  # hex, of the model's file
    settings: Settings


class Radiograph(Protocol):
    """One decoded X-ray file. Axes are (H, W) everywhere."""

    @property
    def pixels(self) -> NDArray[Any]:
        """Stored values, (H, W)."""

    @property
    def bits(self) -> int:
        """Stored bits per pixel."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on how it was read, one sentence each, with identical wording for every file."""

    @property
    def orientation(self) -> int:
        """EXIF orientation of the stored pixels; 1 if upright."""

    @property
    def stretch(self) -> float:
        """Contrast of the initial display relative to `unit`; 1 if they are equal."""

    @property
    def inverted(self) -> bool | None:
        """Whether low stored values were taken as white; None if the format leaves no choice."""

    @property
    def outside_window(self) -> float | None:
        """Fraction of pixels that the initial display clips to black or white; None without a window."""

    @property
    def pixel_spacing(self) -> float | None:
        """Pixel spacing at the detector, mm; None if unknown or not square."""

    def unit(self) -> FloatImage:
        """Return (H, W) float32 in [0, 1] for models: the full range of the image, air black, bone white."""

    def shown(self) -> FloatImage:
        """Return (H, W) float32 in [0, 1] as initially displayed, air black, bone white."""

    def gray(self) -> FloatImage | Pixels:
        """Return (H, W) pixels for `estimate_mottle`: the stored uint8 or uint16 values if they range from black 0 to
        the type's largest as white, which takes no extra memory, else `unit()`.
        """

    def restored(self, denoised: FloatImage) -> Radiograph:
        """Return the file with denoised pixels, on the scale of `unit`; unchanged pixels keep their stored value."""

    def with_pixels(self, pixels: NDArray[Any]) -> Radiograph:
        """Return the file with other stored values, (H, W) of the same type."""

    def encoding_notes(self, settings: Settings) -> tuple[str, ...]:
        """Return notes on how `encode` writes it with these settings, worded as in `notes`."""

    def encode(self, provenance: Provenance) -> bytes:
        """Encode the file losslessly. Raises ImageError if it cannot be encoded."""
