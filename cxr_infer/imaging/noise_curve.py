"""Fit noise strength against brightness, from the flattest blocks of one image.

Robust: each brightness uses a quantile below the median of its flattest blocks' energy and is compared with its
neighbours. Neither edges nor text, meshes or line pairs that cover a twentieth of the blocks move the curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.noise_blocks import BlockMap, Blocks
from cxr_infer.imaging.pixels import Float64Array

Indices = NDArray[np.intp]

BINS = 32  # of brightness, over [0, 1]
MOST_SATURATED = 0.02  # fraction of pixels at 0 or 1 above which clipping reduces a block's variance
LEAST_BLOCKS = 12  # blocks that a bin needs, and the fewest used in each
FLATTEST = 0.3  # fraction of the image's blocks that is used
BARELY_ROUNDED = 1.5  # times the variance of rounding: the energy of a smooth ramp
NEAR, FAR = (
    0.35,
    0.65,
)  # quantiles of their energy: the first gives the variance, the second checks that it is noise alone
NORMAL_QUANTILE = 0.3853  # FAR quantile of the normal distribution, and minus its NEAR quantile
STIFFNESS = 6.0  # of the curve: weight of the squared second difference of log variance from bin to bin
TOLERANCE = 0.15  # error of a bin's log variance not explained by its number of blocks
REACH = 2  # bins on each side that a bin is first compared with
LOW = 0.4  # quantile of those bins as the first guess; low, because structure only adds variance
ROUNDS = 6  # of reweighting
MOST_RESIDUAL = 1.0  # log variance of a bin; reweighting discards larger ones anyway
LEAST_VARIANCE = 1e-14  # [0, 1] units squared; less is single-precision rounding


@dataclass(frozen=True)
class Flattest:
    """The blocks used for the curve, sorted by brightness bin.

    places: indices into the flattened grids, bin by bin; starts: first index of each bin in `places`. brightness: mean
    of all usable blocks of each bin. share: fraction of all usable blocks in each bin; adds up to 1.
    """

    places: Indices
    starts: Indices
    brightness: Float64Array
    share: Float64Array


@dataclass(frozen=True)
class Curve:
    """Noise against brightness as seen by one high-pass. Arrays hold one value per bin, from dark to bright.

    brightness: [0, 1]. variance: [0, 1] units squared, smoothed over the bins. share: fraction of the image's blocks in
    the bin. spread: log variance by which two quantiles of the energy disagree, root mean square over the bins.
    residual: the same between bins and smooth curve. looked_at: number of blocks used.
    """

    brightness: Float64Array
    variance: Float64Array
    share: Float64Array
    spread: float
    residual: float
    looked_at: int

    @property
    def mean_variance(self) -> float:
        """Mean over the image, never 0."""
        return max(float(self.share @ self.variance), LEAST_VARIANCE)

    def at(self, brightness: BlockMap) -> BlockMap:
        """Return the variance at any brightness, never 0 and constant beyond both ends."""
        return np.maximum(np.interp(brightness, self.brightness, self.variance), LEAST_VARIANCE)


def flattest_blocks(blocks: Blocks, rounding: float) -> Flattest | None:
    """Choose the flattest blocks of each brightness; None if no block is usable.

    rounding: variance added by rounding to stored steps.
    """
    usable = (blocks.saturated <= MOST_SATURATED) & (blocks.fine > LEAST_VARIANCE) & (blocks.coarse > LEAST_VARIANCE)
    noisy = usable & (blocks.coarse > BARELY_ROUNDED * rounding)
    if 2 * np.count_nonzero(noisy) >= np.count_nonzero(usable):  # then the other blocks are smooth areas without noise
        usable = noisy
    places = np.flatnonzero(usable)
    if not len(places):
        return None
    mean, flatness = blocks.mean.ravel()[places], blocks.flatness.ravel()[places]
    bins = np.clip(mean * BINS, 0, BINS - 1).astype(np.intp)
    counts = np.bincount(bins, minlength=BINS)
    least = min(LEAST_BLOCKS, int(counts.max()))
    kept = np.flatnonzero(counts >= least)
    middle = int(FLATTEST * (len(flatness) - 1))
    flat = flatness <= np.partition(flatness, middle)[middle]
    for scarce in kept[np.bincount(bins[flat], minlength=BINS)[kept] < least]:
        members = np.flatnonzero(bins == scarce)
        flat[members[np.argpartition(flatness[members], least - 1)[:least]]] = True
    chosen = np.flatnonzero(flat & (counts[bins] >= least))
    chosen = chosen[np.argsort(bins[chosen].astype(np.int16), kind="stable")]
    total = np.bincount(bins, weights=mean, minlength=BINS)
    return Flattest(
        places[chosen],
        np.searchsorted(bins[chosen], kept),
        total[kept] / counts[kept],
        counts[kept] / counts[kept].sum(),
    )


def fit_curve(flattest: Flattest, energy: BlockMap, shape: float, rounding: float) -> Curve:
    """Fit the curve of one image.

    energy: `fine` or `coarse` of its blocks. shape: shape parameter of the gamma distribution of a block's energy under
    noise alone. rounding: variance added by rounding to stored steps, to be subtracted.
    """
    looked_at = np.diff(np.append(flattest.starts, len(flattest.places)))
    values = _sorted_parts(energy.ravel()[flattest.places], looked_at)
    floor = 0.02 * rounding + LEAST_VARIANCE
    near, far = (
        np.log(
            np.maximum(_quantiles(values, flattest.starts, looked_at, q) / _gamma_quantile(z, shape) - rounding, floor)
        )
        for q, z in ((NEAR, -NORMAL_QUANTILE), (FAR, NORMAL_QUANTILE))
    )
    spread = np.abs(far - near)
    error = np.sqrt(2 / (shape * looked_at) + TOLERANCE**2 + spread**2)
    smooth = _smooth(near, error, looked_at)
    variance = np.exp(smooth)
    residual = np.minimum(np.abs(near - smooth), MOST_RESIDUAL)
    return Curve(
        flattest.brightness,
        np.where(variance <= 2 * floor, 0.0, variance),
        flattest.share,
        float(np.sqrt(flattest.share @ spread**2)),
        float(np.sqrt(flattest.share @ residual**2)),
        int(looked_at.sum()),
    )


def _sorted_parts(values: Float64Array, counts: Indices) -> Float64Array:
    """Sort each part of `values` in ascending order. values: not negative."""
    base = np.repeat(np.arange(len(counts)) * 2.0 * values.max(), counts)
    return np.asarray(np.sort(base + values) - base)


def _quantiles(values: Float64Array, starts: Indices, counts: Indices, probability: float) -> Float64Array:
    """Return a quantile of each sorted part of `values`, interpolated linearly."""
    place = probability * (counts - 1)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, counts - 1)
    return np.asarray(values[starts + low] + (place - low) * (values[starts + high] - values[starts + low]))


def _gamma_quantile(normal: float, shape: float) -> float:
    """Convert a normal quantile to that of a gamma distribution with mean 1 (Wilson and Hilferty 1931)."""
    return float(max(1 - 1 / (9 * shape) + normal / (3 * np.sqrt(shape)), 0.3) ** 3)


def _smooth(values: Float64Array, error: Float64Array, counts: Indices) -> Float64Array:
    """Fit a smooth curve through most values: least squares, curvature penalised, reweighted by Cauchy's function."""
    penalty = _penalty(len(values))
    system, diagonal = penalty.copy(), np.diag_indices(len(values))
    fitted = _low_medians(values, np.sqrt(counts))
    for _ in range(ROUNDS):
        weight = 1 / error**2 / (1 + ((values - fitted) / (2 * error)) ** 2)
        system[diagonal] = weight + penalty[diagonal]
        fitted = np.asarray(np.linalg.solve(system, weight * values), dtype=np.float64)
    return fitted


@lru_cache(maxsize=BINS)
def _penalty(count: int) -> Float64Array:
    """Return the matrix of the squared curvature of `count` values."""
    bends = np.diff(np.eye(count), 2, axis=0)
    return np.asarray(STIFFNESS * bends.T @ bends)


def _low_medians(values: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the weighted LOW quantile of each value and its REACH neighbours on each side."""
    width = 2 * REACH + 1
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, REACH, mode="edge"), width)
    weight = np.lib.stride_tricks.sliding_window_view(np.pad(weights, REACH), width)
    order = np.argsort(around, axis=1)
    total = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    place = np.argmax(total >= LOW * total[:, -1:], axis=1)
    return np.asarray(np.take_along_axis(np.take_along_axis(around, order, axis=1), place[:, None], axis=1)[:, 0])
