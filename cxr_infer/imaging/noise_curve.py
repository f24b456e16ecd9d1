"""How strong noise is at each brightness, from the flattest blocks of one image.

Robust: at each brightness a quantile below the middle of the flattest blocks' energy counts, and each brightness is
compared with its neighbours, so that neither edges nor a twentieth of the blocks, under text, meshes or line pairs,
move it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.noise_blocks import BlockMap, Blocks
from cxr_infer.imaging.pixels import Float64Array

Places = NDArray[np.intp]

BINS = 32  # of brightness, over [0, 1]
MOST_SATURATED = 0.02  # share of pixels at 0 or 1 above which a block's variance is cut off by the clipping
LEAST_BLOCKS = 12  # that a bin needs, and that are looked at in each
FLATTEST = 0.3  # share of the image's blocks that is looked at
BARELY_ROUNDED = 1.5  # times the variance of rounding: the energy of a smooth ramp
NEAR, FAR = 0.35, 0.65  # quantiles of their energy: the first counts, the second says whether it is noise alone
NORMAL_QUANTILE = 0.3853  # the normal distribution's FAR quantile, its NEAR one with the sign changed
STIFFNESS = 6.0  # of the curve: weight of the squared second difference of log variance from bin to bin
TOLERANCE = 0.15  # log variance by which a bin may be off for other reasons than its number of blocks
REACH = 2  # bins to either side with which a bin is compared at first
LOW = 0.4  # quantile of theirs that is the start: structure only ever adds
ROUNDS = 6  # of reweighting
MOST_RESIDUAL = 1.0  # log variance, of a bin; one that is off by more is left out by the reweighting anyway
LEAST_VARIANCE = 1e-14  # [0, 1] units squared, below which single precision makes the energy


@dataclass(frozen=True)
class Flattest:
    """The blocks that are looked at. places: of them in the flattened grids, bin after bin; starts: of each bin's part.

    brightness: mean of all usable blocks of each bin. share: of all usable blocks that lie in the bin; adds up to 1.
    """

    places: Places
    starts: Places
    brightness: Float64Array
    share: Float64Array


@dataclass(frozen=True)
class Curve:
    """Noise against brightness, as one high-pass sees it. Columns hold one value a bin, from dark to bright.

    brightness: [0, 1]. variance: [0, 1] units squared, smooth over the bins. share: of the image's blocks that lie in
    the bin. spread: log variance by which two quantiles of the energy disagree, root mean square over the bins.
    residual: the same of bins and smooth curve. looked_at: number of blocks.
    """

    brightness: Float64Array
    variance: Float64Array
    share: Float64Array
    spread: float
    residual: float
    looked_at: int

    @property
    def mean_variance(self) -> float:
        """Over the image, never 0."""
        return max(float(self.share @ self.variance), LEAST_VARIANCE)

    def at(self, brightness: BlockMap) -> BlockMap:
        """Variance at any brightness, never 0; it stays what it is beyond either end."""
        return np.maximum(np.interp(brightness, self.brightness, self.variance), LEAST_VARIANCE)


def flattest_blocks(blocks: Blocks, rounding: float) -> Flattest | None:
    """Choose the flattest blocks of each brightness, or None where no block can tell.

    rounding: variance that rounding to stored steps makes.
    """
    usable = (blocks.saturated <= MOST_SATURATED) & (blocks.fine > LEAST_VARIANCE) & (blocks.coarse > LEAST_VARIANCE)
    noisy = usable & (blocks.coarse > BARELY_ROUNDED * rounding)
    if 2 * np.count_nonzero(noisy) >= np.count_nonzero(usable):  # then the others are smooth areas, and no noise
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

    energy: `fine` or `coarse` of its blocks. shape: of the gamma distribution that the energy of a block has where
    there is noise alone. rounding: variance that rounding to stored steps adds; it is taken away.
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


def _sorted_parts(values: Float64Array, counts: Places) -> Float64Array:
    """Each part of `values` in ascending order. values: not negative."""
    base = np.repeat(np.arange(len(counts)) * 2.0 * values.max(), counts)
    return np.asarray(np.sort(base + values) - base)


def _quantiles(values: Float64Array, starts: Places, counts: Places, probability: float) -> Float64Array:
    """Of each part of `values`, which is sorted; in between two values, linearly."""
    place = probability * (counts - 1)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, counts - 1)
    return np.asarray(values[starts + low] + (place - low) * (values[starts + high] - values[starts + low]))


def _gamma_quantile(normal: float, shape: float) -> float:
    """Quantile of a gamma distribution of mean 1, from the normal distribution's (Wilson and Hilferty 1931)."""
    return float(max(1 - 1 / (9 * shape) + normal / (3 * np.sqrt(shape)), 0.3) ** 3)


def _smooth(values: Float64Array, error: Float64Array, counts: Places) -> Float64Array:
    """A smooth curve through most values: least squares that penalise bends, reweighted by Cauchy's function."""
    bends = np.diff(np.eye(len(values)), 2, axis=0)
    penalty = STIFFNESS * bends.T @ bends
    fitted = _low_medians(values, np.sqrt(counts))
    for _ in range(ROUNDS):
        weight = 1 / error**2 / (1 + ((values - fitted) / (2 * error)) ** 2)
        fitted = np.asarray(np.linalg.solve(np.diag(weight) + penalty, weight * values), dtype=np.float64)
    return fitted


def _low_medians(values: Float64Array, weights: Float64Array) -> Float64Array:
    """Weighted LOW quantile of each value and its REACH neighbours to either side."""
    width = 2 * REACH + 1
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, REACH, mode="edge"), width)
    weight = np.lib.stride_tricks.sliding_window_view(np.pad(weights, REACH), width)
    order = np.argsort(around, axis=1)
    total = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    place = np.argmax(total >= LOW * total[:, -1:], axis=1)
    return np.asarray(np.take_along_axis(np.take_along_axis(around, order, axis=1), place[:, None], axis=1)[:, 0])
