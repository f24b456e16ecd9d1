"""What is measured: signals, doses, noises, methods, images and seeds, so that two people get the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOISY = "noisy"  # the method that does nothing, with which all others are compared


@dataclass(frozen=True)
class Signal:
    """One thing to be seen. kind: disc, nodule, line, dark-line, lattice, edge or marker.

    size: mm where the pixel spacing is known, else px: diameter of discs and nodules, width of lines, period of
    lattices. contrast: in gray levels of 255, signed.
    """

    kind: str
    size: float
    contrast: float

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.size:g}, {self.contrast:+g}"


@dataclass(frozen=True)
class Protocol:
    """A versioned list of measurements.

    images: how many phantoms (`phantoms`), or a folder of clean images given on the command line. side: px of each.
    spacing: mm a pixel, None where unknown. doses: photons at white, for `white` noise; a detector's noise is made as
    strong as that of so many photons. noises: "white" or names in `noise.DETECTORS`. methods: names in `methods`, paths
    of .onnx files, commands. draws: independent draws of noise for each point. studies: names in `studies.STUDIES`.
    blur: standard deviation in px of the Gaussian by which the detector blurs signals before the noise; its MTF at f
    cycles/px is exp(-2 (pi blur f)^2). if_installed: further methods, left out where their packages are missing.
    fewer_draws: of methods that take long, the first so many of the draws.
    """

    name: str
    version: int
    seed: int
    phantoms: int
    side: int
    spacing: float | None
    doses: tuple[float, ...]
    noises: tuple[str, ...]
    methods: tuple[str, ...]
    signals: tuple[Signal, ...]
    contrasts: tuple[float, ...]
    draws: int
    studies: tuple[str, ...]
    blur: float = 0.0
    if_installed: tuple[str, ...] = ()
    fewer_draws: Mapping[str, int] = field(default_factory=dict)

    def draws_of(self, method: str) -> int:
        """How many draws a method is measured with."""
        return min(self.draws, self.fewer_draws.get(method, self.draws))

    def fewer(self, method: str) -> int | None:
        """The same where they are fewer than those of the others, else None."""
        draws = self.draws_of(method)
        return draws if draws < self.draws else None
