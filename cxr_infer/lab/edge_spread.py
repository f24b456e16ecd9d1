"""Compute edge spread functions from pixels, and their transfer functions; `transfer` measures them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.signals import EDGE_ANGLE, turned

Bins = NDArray[np.intp]

MARGIN = 16  # px ignored at each border
REACH = 32  # px, maximum distance from the edge
OF_RADIUS = 0.8  # fraction of a disc's radius used on each side of its rim
LEAST_RADIUS = 8.0  # px, smallest radius whose rim is straight enough
TAPERED_FROM = 0.5  # fraction of the reach beyond which the line spread function is tapered
OVERSAMPLING = 5  # bins per pixel
OFF_CENTRE = (0.19, -0.27)  # px
FREQUENCIES = np.linspace(0, 0.5, 21)  # cycles/px


@dataclass(frozen=True)
class Sampling:
    """How pixels of a field sample an edge spread function.

    where: indices of the used pixels in the flattened field; bins: bin of each; distances: mean distance of each bin's
    pixels from the edge, px, ascending; half: px on each side of the edge.
    """

    where: Bins
    bins: Bins
    distances: Float64Array
    half: float

    @staticmethod
    def of(distance: Float64Array, half: float, counted: NDArray[np.bool_]) -> Sampling:
        """Build from pixels' signed distances to the edge, px. counted: pixels that may be used."""
        inside = counted & (np.abs(distance) < half)
        _, bins = np.unique(np.floor((distance[inside] + half) * OVERSAMPLING), return_inverse=True)
        mean = np.bincount(bins, distance[inside]) / np.bincount(bins)
        return Sampling(np.flatnonzero(inside), bins.astype(np.intp), np.asarray(mean), half)

    @property
    def grid(self) -> Float64Array:
        """Evenly spaced distances at which the function is evaluated, px."""
        return np.asarray((np.arange(int(2 * self.half * OVERSAMPLING)) + 0.5) / OVERSAMPLING - self.half)


def centre_of(side: int) -> tuple[float, float]:
    """Return row and column near the middle of a field, off the pixel grid's symmetry to sample more distances."""
    return side / 2 + OFF_CENTRE[0], side / 2 + OFF_CENTRE[1]


def sample_edge(side: int) -> Sampling:
    """Return the sampling of a square field with an edge through its middle. side: px."""
    return _across_edge(side)


def sample_rim(side: int, radius: float) -> Sampling:
    """Return the sampling of a square field with a disc in its middle; px. Raises UsageError if the disc is too
    small.
    """
    if radius < LEAST_RADIUS:
        raise UsageError(
            f"a disc of {2 * radius:g} px is too small for a transfer function; use {2 * LEAST_RADIUS:g} px or more"
        )
    return _across_rim(side, radius)


@lru_cache(maxsize=2)
def _across_edge(side: int) -> Sampling:
    row, column = centre_of(side)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    across, _ = turned(x - column, y - row, EDGE_ANGLE)
    return Sampling.of(across, REACH, np.minimum(y, side - 1 - y) >= MARGIN)


@lru_cache(maxsize=4)
def _across_rim(side: int, radius: float) -> Sampling:
    row, column = centre_of(side)
    y, x = np.mgrid[:side, :side]
    outwards = np.hypot(y - row, x - column) - radius
    return Sampling.of(outwards, min(REACH, OF_RADIUS * radius), np.ones((side, side), bool))


def edge_spread(difference: FloatImage, sampled: Sampling) -> Float64Array:
    """Return the mean across the edge, at `sampled.grid`."""
    total = np.bincount(sampled.bins, difference.ravel()[sampled.where].astype(np.float64))
    return np.interp(sampled.grid, sampled.distances, total / np.bincount(sampled.bins))


def transfer(spreads: Float64Array) -> Float64Array:
    """Convert edge spread functions (draws, bins, 2), after and before, to the transfer function at FREQUENCIES."""
    after, before = np.moveaxis(spreads.mean(axis=0), -1, 0)
    return np.asarray(modulation(after) / modulation(before))


def modulation(spread: Float64Array) -> Float64Array:
    """Return the modulus of the Fourier transform of the line spread function at FREQUENCIES, 1 at frequency 0."""
    spectrum = np.abs(_transform(len(spread) - 1) @ np.diff(spread))
    return np.asarray(spectrum / spectrum[0])


@lru_cache(maxsize=8)
def _transform(bins: int) -> NDArray[np.complex128]:
    """Return a matrix (frequencies, bins) that tapers a line spread function and transforms it."""
    place = np.arange(bins) - (bins - 1) / 2
    taper = np.clip((np.abs(place) / ((bins + 1) / 2) - TAPERED_FROM) / (1 - TAPERED_FROM), 0, 1)
    phase = 2 * np.pi * np.outer(FREQUENCIES, place / OVERSAMPLING)
    return np.asarray(np.exp(-1j * phase) * np.cos(np.pi / 2 * taper) ** 2)


def half_frequency(spreads: Float64Array) -> Float64Array:
    """Return the frequency in cycles/px at which `transfer` falls to 0.5, or the highest if it does not."""
    found = transfer(spreads)
    below = np.flatnonzero(found < 0.5)
    if not len(below):
        return np.asarray(FREQUENCIES[-1])
    after = int(below[0])  # at least 1, since the function starts at 1
    share = (found[after - 1] - 0.5) / (found[after - 1] - found[after])
    return np.asarray(FREQUENCIES[after - 1] + share * (FREQUENCIES[after] - FREQUENCIES[after - 1]))
