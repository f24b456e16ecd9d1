"""Noise power spectrum of flat or repeated exposures as defined by IEC 62220-1-1 (2015).

    NPS(u, v) = dx dy / (M n n) * sum over M regions of |FFT of (region - fitted surface)|^2

over regions of n x n px (256 in the standard) that overlap by half in both directions; from each, a fitted second-order
polynomial in x and y is subtracted. The unit is pixel values squared times mm^2 (px^2 if the spacing is unknown); the
integral over all frequencies is the variance. The standard uses data linearised to exposure; here pixels are as
displayed, so that spectra can be compared only between images with the same display.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError
from cxr_infer.imaging.pixels import Float64Array

REGION = 256  # px, side of a region in the standard
SMALLEST_REGION = 16
FREQUENCY_BANDS = 24  # of a spectrum in findings
LINES = 7  # rows or columns on each side of an axis that form the one-dimensional spectrum; the axis is left out
DETRENDED = 1.5  # multiple of a region's lowest frequency; below it the fitted surface removes power
OVERLAPPED = 0.25  # correlation between periodograms of regions that overlap by half: (1/2)^2 for white noise


@dataclass(frozen=True)
class Power:
    """A spectrum, (n, n) in FFT order, frequencies in cycles/px.

    effective: equivalent number of independent regions; overlap reduces it. spacing: mm per pixel, 1 if unknown.
    """

    values: Float64Array
    effective: float
    spacing: float = 1.0

    @property
    def variance(self) -> float:
        """Integral of the spectrum: the variance of the detrended regions."""
        side = len(self.values)
        return float(self.values.sum() / (side * self.spacing) ** 2)


@dataclass(frozen=True)
class Profile:
    """A spectrum along one axis or over all directions.

    frequency: cycles/mm, or cycles/px if the spacing is unknown. power: mean in each band. relative_error: its relative
    standard error.
    """

    frequency: Float64Array
    power: Float64Array
    relative_error: Float64Array


def region_side(shape: tuple[int, int]) -> int:
    """Return the largest power of 2, up to 256, for which two half-overlapping regions fit in each direction.

    Raises ImageError if the image is too small.
    """
    side = REGION
    while side * 3 // 2 > min(shape) and side > SMALLEST_REGION:
        side //= 2
    if side > min(shape):
        raise ImageError(
            f"an image of {shape[1]}x{shape[0]} px is too small for a noise power spectrum; use a larger image"
        )
    return side


def noise_power(images: Iterable[NDArray[np.floating]], side: int, spacing: float | None = None) -> Power:
    """Compute the spectrum of flat images with independent noise, or of pure noise: (H, W) each, all of one shape.

    side: px of a region. spacing: mm per pixel. Raises ImageError if no region fits.
    """
    total = np.zeros((side, side))
    count, effective = 0, 0.0
    for image in images:
        rows, columns = ((length - side) // (side // 2) + 1 for length in image.shape)
        if min(rows, columns) < 1:
            raise ImageError(
                f"an image of {image.shape[1]}x{image.shape[0]} px is smaller than a region of {side} px; use more"
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


def detrended(regions: Float64Array) -> Float64Array:
    """Subtract the best-fitting second-order polynomial in x and y from each region (M, n, n)."""
    surfaces = _surfaces(regions.shape[-1])
    flat = regions.reshape(len(regions), -1)
    return np.asarray(flat - (flat @ surfaces.T) @ surfaces).reshape(regions.shape)


@lru_cache(maxsize=4)
def _surfaces(side: int) -> Float64Array:
    """Return an orthonormal basis of the second-order polynomials over a region: (6, n * n)."""
    line = np.linspace(-1, 1, side)
    x, y = (axis.ravel() for axis in np.meshgrid(line, line))
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=1))
    return np.asarray(basis.T)


def _independent(count: int) -> float:
    """Return the equivalent number of independent regions in a row of half-overlapping ones."""
    return count**2 / (count + 2 * (count - 1) * OVERLAPPED)


def radial_profile(spectrum: Power, bands: int | None = None) -> Profile:
    """Average over all directions, in bands up to the Nyquist frequency.

    bands: number, by default half of the region's side. Frequencies next to 0 are left out, because detrending removes
    power there.
    """
    side = len(spectrum.values)
    frequencies = np.fft.fftfreq(side)
    radius = np.hypot(frequencies, frequencies[:, None])
    return _in_bands(spectrum, radius, radius > DETRENDED / side, bands or side // 2)


def axis_profile(spectrum: Power, down: bool = False, bands: int | None = None) -> Profile:
    """Average the 7 lines on each side of the horizontal or vertical axis, without the axis itself.

    The standard leaves the axis out, because it contains what rows and columns of a detector have in common.
    """
    side = len(spectrum.values)
    frequencies = np.fft.fftfreq(side)
    lines = np.abs(np.rint(frequencies * side))
    near = (lines >= 1) & (lines <= min(LINES, side // 8))
    u, v = np.meshgrid(frequencies, frequencies)
    along = lines > DETRENDED
    used = near[None, :] & along[:, None] if down else near[:, None] & along[None, :]
    return _in_bands(spectrum, np.hypot(u, v), used, bands or side // 2)


def _in_bands(spectrum: Power, radius: Float64Array, used: NDArray[np.bool_], bands: int) -> Profile:
    """Average in bands. Periodogram values are exponentially distributed, and opposite frequencies are identical."""
    within = used & (radius <= 0.5)
    band = np.minimum((radius[within] * 2 * bands).astype(np.intp), bands - 1)
    count = np.bincount(band, minlength=bands)
    kept = count > 0
    totals = (np.bincount(band, weights=values[within], minlength=bands) for values in (radius, spectrum.values))
    frequency, power = (total[kept] / count[kept] for total in totals)
    error = np.sqrt(2 / (count[kept] * spectrum.effective))
    return Profile(frequency / spectrum.spacing, power, error)
