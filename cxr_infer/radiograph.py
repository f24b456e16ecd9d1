"""What every kind of X-ray file is to the rest of the program: stored pixels, the way to the model and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.settings import Settings

FloatImage = NDArray[np.float32]

MAX_PIXELS = 100_000_000  # of one image: the largest detectors have 20 million, stitched spines 60


@dataclass(frozen=True)
class Reading:
    """How files are read. Not one of them may ask for more than this.

    max_pixels: width x height that one image may have. white: stored value that means white in pictures of more than
    8 bit, where the header does not say and it is not the largest that fits.
    """

    max_pixels: int = MAX_PIXELS
    white: int | None = None


@dataclass(frozen=True)
class Provenance:
    """What made a result: recorded in it where its kind of file has a place for that."""

    version: str  # of cxr-infer
    model: str  # its name and precision
    sha256: str  # hex, of the model's file
    settings: Settings


class Radiograph(ABC):
    """One decoded X-ray file. Axes are (H, W) everywhere."""

    @property
    @abstractmethod
    def pixels(self) -> NDArray[Any]:
        """(H, W), the stored values."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Stored bits a pixel."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how it was read, a sentence each; the same words for every file alike."""

    @abstractmethod
    def unit(self) -> FloatImage:
        """(H, W) float32 in [0, 1], air black, bone white: what models take."""

    @abstractmethod
    def restored(self, denoised: FloatImage) -> Radiograph:
        """The same file with other pixels. denoised: as `unit` gives them; equal ones give equal stored values."""

    @abstractmethod
    def encode(self, provenance: Provenance) -> bytes:
        """The whole file, of the kind that it was read from, without loss."""
