"""The interface of every kind of X-ray file: stored pixels, and the way to the model and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import FloatImage, Pixels
from cxr_infer.settings import Settings

# Of the way from a file's stored values to the network and back: decoding, windows, scales, estimates, rounding. To be
# raised by every change after which the same file, model and settings give other pixels: results of an earlier method
# then count as outdated, and DICOM gets other UIDs.
METHOD = 3


def check_deidentify(choice: str) -> None:
    """Raise UsageError for anything but `no`: de-identification needs a dedicated tool."""
    if choice != "no":
        raise UsageError(f"--deidentify {choice} is not possible, only no; de-identify with a tool made for it")


@dataclass(frozen=True)
class Provenance:
    """What made a result; recorded in the result if its format can hold it."""

    version: str  # of cxr-infer
    model: str  # its name and precision
    sha256: str  # hex, of the model's file
    settings: Settings


class Radiograph(Protocol):
    """One decoded X-ray file. Axes are (H, W) everywhere."""

    @property
    def pixels(self) -> NDArray[Any]:
        """(H, W), the stored values."""

    @property
    def bits(self) -> int:
        """Stored bits per pixel."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on how it was read, one sentence each, in the same words for every file."""

    @property
    def orientation(self) -> int:
        """EXIF's number for how a viewer turns the stored pixels; 1 if upright."""

    @property
    def stretch(self) -> float:
        """Contrast of the initial display relative to `unit`; 1 if they are equal."""

    @property
    def inverted(self) -> bool | None:
        """Whether low stored values were taken as white; None if the format leaves no choice."""

    @property
    def outside_window(self) -> float | None:
        """Share of pixels that the initial display clips to black or white; None without a window."""

    @property
    def pixel_spacing(self) -> float | None:
        """mm a pixel at the detector; None where the file does not say, or rows and columns differ."""

    def unit(self) -> FloatImage:
        """Return (H, W) float32 in [0, 1], air black, bone white, for models: the full range of the image."""

    def shown(self) -> FloatImage:
        """Return (H, W) float32 in [0, 1], air black, bone white: the initial display."""

    def gray(self) -> FloatImage | Pixels:
        """(H, W) as `estimate_mottle` takes it: stored uint8 or uint16 pixels where they reach from black 0 to white,
        which takes no memory, else what `unit` gives.
        """

    def restored(self, denoised: FloatImage) -> Radiograph:
        """Return the file with other pixels. denoised: on the scale of `unit`; equal pixels are stored alike."""

    def with_pixels(self, pixels: NDArray[Any]) -> Radiograph:
        """Return the file with other stored values, (H, W) of the same type."""

    def encoding_notes(self, settings: Settings) -> tuple[str, ...]:
        """Return notes on how `encode` writes it with these settings, likewise."""

    def encode(self, provenance: Provenance) -> bytes:
        """Encode the whole file losslessly, in the format that it was read from."""
