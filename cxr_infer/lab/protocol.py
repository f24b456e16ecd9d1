"""Protocols: signals, doses, noises, methods, images and seeds, so that two people get the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GRAY_LEVELS = 255.0  # from black to white: the unit of contrasts and findings
FIELD_BRIGHTNESS = 0.5  # of flat fields, of the surroundings of discs and at the middle of edges
SIGNAL_KINDS = ("disc", "nodule", "line", "dark-line", "lattice", "edge", "marker")
NOISY = "noisy"  # the method that changes nothing; all others are compared with it


@dataclass(frozen=True)
class Signal:
    """A signal to detect. kind: disc, nodule, line, dark-line, lattice, edge or marker.

    size: mm if the pixel spacing is known, else px: diameter of discs and nodules, width of lines, period of lattices.
    contrast: gray levels of 255, signed.
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

    phantoms: number of phantoms, unless a folder of clean images is given on the command line. side: px of each image.
    spacing: mm per pixel, None if unknown. doses: photons at white, for `white` noise; a detector's noise is made
    equally strong. noises: "white" or names in `noise.DETECTORS`. methods: names in `methods`, paths of .onnx files,
    commands. draws: independent draws of noise per point. studies: names in `studies.STUDIES`. blur: standard deviation
    in px of the Gaussian by which the detector blurs signals before the noise; its MTF at f cycles/px is exp(-2 (pi
    blur f)^2). if_installed: further methods, left out if their packages are missing. fewer_draws: number of draws, the
    first ones, for slow methods.
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
        """Return the number of draws of a method."""
        return min(self.draws, self.fewer_draws.get(method, self.draws))

    def fewer(self, method: str) -> int | None:
        """Return the number of draws of a method if it is smaller than that of the others, else None."""
        draws = self.draws_of(method)
        return draws if draws < self.draws else None

    @property
    def unit_of_length(self) -> str:
        """The unit of the sizes of signals."""
        return "px" if self.spacing is None else "mm"
