"""What every kind of X-ray file is to the rest of the program: stored pixels, the way to the model and back."""

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
    """Raises UsageError for anything but `no`: whoever wants de-identified files needs a tool made for that."""
    if choice != "no":
        raise UsageError(f"--deidentify {choice} is not possible, only no; de-identify with a tool made for it")


@dataclass(frozen=True)
class Provenance:
    """What made a result: recorded in it where its kind of file has a place for that."""

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
        """Stored bits a pixel."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how it was read, a sentence each; the same words for every file alike."""

    @property
    def orientation(self) -> int:
        """EXIF's number for how a viewer turns the stored pixels; 1 where they are looked at as they are."""

    @property
    def stretch(self) -> float:
        """How much steeper than in `unit` a display shows grays at first; 1 where it shows just that."""

    @property
    def inverted(self) -> bool | None:
        """Whether low stored values were taken as white; None where the kind of file leaves no choice."""

    @property
    def outside_window(self) -> float | None:
        """Share of the pixels that a display shows black or white at first; None where there is no window."""

    def unit(self) -> FloatImage:
        """(H, W) float32 in [0, 1], air black, bone white: what models take. All that the image tells apart."""

    def shown(self) -> FloatImage:
        """(H, W) float32 in [0, 1], air black, bone white: what a display shows at first."""

    def gray(self) -> FloatImage | Pixels:
        """(H, W) as `estimate_mottle` takes it: stored uint8 or uint16 pixels where they reach from black 0 to white,
        which takes no memory, else what `unit` gives.
        """

    def restored(self, denoised: FloatImage) -> Radiograph:
        """The same file with other pixels. denoised: as `unit` gives them; equal ones give equal stored values."""

    def with_pixels(self, pixels: NDArray[Any]) -> Radiograph:
        """The same file with other stored values, (H, W) and of the same type."""

    def encoding_notes(self, settings: Settings) -> tuple[str, ...]:
        """What a user should know about how `encode` writes it with these settings, likewise."""

    def encode(self, provenance: Provenance) -> bytes:
        """The whole file, of the kind that it was read from, without loss."""
