"""The noise power spectrum of flat or repeated exposures as IEC 62220-1-1 (2015) defines it.

    NPS(u, v) = dx dy / (M n n) * sum over M regions of |FFT of (region - fitted surface)|^2

over regions of n x n px (256 in the standard) that overlap by half in both directions, each less a second-order
polynomial in x and y that is fitted to it. In units of the pixels squared times mm^2 (px^2 where the spacing is not
known): its integral over all frequencies is the variance. The standard measures linearised data in units of exposure;
here pixels are as they are displayed, so that a spectrum compares with another of the same display alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError

Array = NDArray[np.float64]

REGION = 256  # px, side of a region in the standard
SMALLEST_REGION = 16
LINES = 7  # rows or columns on either side of an axis that make the one-dimensional spectrum; the axis is left out
DETRENDED = 1.5  # times the lowest frequency of a region: up to there the fitted surface takes power away
OVERLAPPED = 0.25  # correlation of the periodograms of regions that overlap by half: (1/2)^2 for white noise


@dataclass(frozen=True)
class Power:
    """A spectrum: (n, n) in FFT order, frequencies in cycles/px.

    effective: how many independent regions it rests on, fewer than there are where they overlap. spacing: mm a pixel,
    1 where it is not known.
    """

    values: Array
    effective: float
    spacing: float = 1.0

    @property
    def variance(self) -> float:
        """Its integral: of the detrended regions."""
        side = len(self.values)
        return float(self.values.sum() / (side * self.spacing) ** 2)


@dataclass(frozen=True)
class Profile:
    """A spectrum along one axis or over all directions.

    frequency: cycles/mm, or cycles/px where the spacing is not known. power: mean in each band. relative_error: its
    standard error over it.
    """

    frequency: Array
    power: Array
    relative_error: Array


def region_side(shape: tuple[int, int]) -> int:
    """The largest power of 2 up to 256 of which two regions that overlap by half fit each way.

    Raises ImageError for an image too small.
    """
    side = REGION
    while side * 3 // 2 > min(shape) and side > SMALLEST_REGION:
        side //= 2
    if side > min(shape):
        raise ImageError(
            f"an image of {shape[1]}x{shape[0]} px is too small for a noise power spectrum; use a larger one"
        )
    return side


def noise_power(images: Iterable[NDArray[np.floating]], side: int, spacing: float | None = None) -> Power:
    """Of flat images with independent noise, or of noise alone: (H, W) each, of one shape.

    side: px of a region. spacing: mm a pixel. Raises ImageError where no region fits.
    """
    total = np.zeros((side, side))
    count, effective = 0, 0.0
    for image in images:
        rows, columns = ((length - side) // (side // 2) + 1 for length in image.shape)
        if min(rows, columns) < 1:
            raise ImageError(
                f"an image of {image.shape[1]}x{image.shape[0]} px holds no region of {side} px; use a larger one"
            )
        windows = np.lib.stride_tricks.sliding_window_view(image, (side, side))[:: side // 2, :: side // 2]
        for row in windows:
            rest = detrended(np.asarray(row, dtype=np.float64))
            total += (np.abs(np.fft.fft2(rest)) ** 2).sum(axis=0)
        count += rows * columns
        effective += _independent(rows) * _independent(columns)
    if not count:
        raise ImageError("a noise power spectrum needs an image")
    pitch = spacing or 1.0
    return Power(total * pitch**2 / (count * side**2), effective, pitch)


def detrended(regions: Array) -> Array:
    """Regions (M, n, n) less the second-order polynomial in x and y that fits each best."""
    surfaces = _surfaces(regions.shape[-1])
    flat = regions.reshape(len(regions), -1)
    return np.asarray(flat - (flat @ surfaces.T) @ surfaces).reshape(regions.shape)


@lru_cache(maxsize=4)
def _surfaces(side: int) -> Array:
    """An orthonormal basis of the second-order polynomials over a region: (6, n * n)."""
    line = np.linspace(-1, 1, side)
    x, y = (axis.ravel() for axis in np.meshgrid(line, line))
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=1))
    return np.asarray(basis.T)


def _independent(count: int) -> float:
    """How many independent regions a row of regions that overlap by half is worth."""
    return count**2 / (count + 2 * (count - 1) * OVERLAPPED)


def radial_profile(spectrum: Power, bands: int | None = None) -> Profile:
    """Mean over all directions, in bands up to the Nyquist frequency.

    bands: number, half of the region's side by default. The frequencies next to 0 are left out: detrending takes power.
    """
    side = len(spectrum.values)
    frequencies = np.fft.fftfreq(side)
    radius = np.hypot(frequencies, frequencies[:, None])
    return _in_bands(spectrum, radius, radius > DETRENDED / side, bands or side // 2)


def axis_profile(spectrum: Power, down: bool = False, bands: int | None = None) -> Profile:
    """Along the horizontal or the vertical axis: mean of the 7 lines on either side of it, the axis itself left out.

    As the standard says, which leaves the axis out since it holds what rows and columns of a detector have in common.
    """
    side = len(spectrum.values)
    frequencies = np.fft.fftfreq(side)
    lines = np.abs(np.rint(frequencies * side))
    near = (lines >= 1) & (lines <= min(LINES, side // 8))
    u, v = np.meshgrid(frequencies, frequencies)
    along = lines > DETRENDED
    used = near[None, :] & along[:, None] if down else near[:, None] & along[None, :]
    return _in_bands(spectrum, np.hypot(u, v), used, bands or side // 2)


def _in_bands(spectrum: Power, radius: Array, used: NDArray[np.bool_], bands: int) -> Profile:
    """A periodogram's values are distributed exponentially, and those of opposite frequencies are one and the same."""
    within = used & (radius <= 0.5)
    band = np.minimum((radius[within] * 2 * bands).astype(np.intp), bands - 1)
    count = np.bincount(band, minlength=bands)
    kept = count > 0
    totals = (np.bincount(band, weights=values[within], minlength=bands) for values in (radius, spectrum.values))
    frequency, power = (total[kept] / count[kept] for total in totals)
    error = np.sqrt(2 / (count[kept] * spectrum.effective))
    return Profile(frequency / spectrum.spacing, power, error)
