"""Measure the bias of a method on one image: the mean of many denoised draws minus the truth, and its error.

Noise averages out over the draws; what remains is what the method adds or removes every time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.jackknife import groups_of, jackknife
from cxr_infer.lab.scipy_functions import special

Mask = NDArray[np.bool_]

FALSE_DISCOVERIES = 0.05  # largest expected fraction of marked pixels that are marked by chance
BY_CHANCE = 0.05  # fraction of unbiased pixels outside their own 95% interval


@dataclass(frozen=True)
class Bias:
    """The bias of one method on one image.

    groups: mean error of each group of draws, (g, ...). deviation: standard deviation of one draw, (...). Both in the
    image's units, over the image, (H, W), or over some of its pixels, (N,). draws: number.
    """

    groups: Float64Array
    deviation: Float64Array
    draws: int

    @property
    def mean(self) -> Float64Array:
        """Bias of each pixel."""
        return np.asarray(np.average(self.groups, axis=0, weights=self._sizes))

    @property
    def error(self) -> Float64Array:
        """Standard error of the bias of each pixel."""
        return np.asarray(self.deviation / np.sqrt(self.draws))

    def within(self, pixels: Mask) -> Bias:
        """Restrict to some pixels of the image."""
        return Bias(self.groups[:, pixels], self.deviation[pixels], self.draws)

    @property
    def _sizes(self) -> NDArray[np.intp]:
        return np.bincount(groups_of(self.draws))

    def chance(self) -> Float64Array:
        """Return the two-sided p-value of each pixel's bias (Student's t with draws - 1 degrees of freedom)."""
        mean, error = self.mean, self.error
        certain = error <= 0  # a saturated pixel is equal in all draws
        t = np.where(certain, 0.0, np.abs(mean) / np.where(certain, 1.0, error))
        exact = np.where(np.abs(mean) > 0, 0.0, 1.0)
        return np.asarray(np.where(certain, exact, 2 * special().stdtr(self.draws - 1, -t)))

    def size(self) -> Estimate:
        """Return the root mean square bias, corrected for the remaining noise, with a jackknife interval."""
        total, variance = float(self.draws), float((self.deviation**2).mean())
        mean = self.mean
        square = float((mean**2).mean()) - variance / total
        left_out = [
            (((mean * total - group * size) / (total - size)) ** 2).mean() - variance / (total - size)
            for group, size in zip(self.groups, self._sizes, strict=True)
        ]
        interval = jackknife(square, np.array(left_out))
        return Estimate(*(float(np.sqrt(max(end, 0.0))) for end in (interval.value, interval.low, interval.high)))


def measure_bias(truth: FloatImage, denoised: Iterable[FloatImage], draws: int) -> Bias:
    """Measure the bias over independent draws of noise.

    truth: (H, W). denoised: `draws` results, at least 2, consumed one by one.
    """
    groups = groups_of(draws)
    sums = np.zeros((groups[-1] + 1, *truth.shape))
    squares = np.zeros(truth.shape)
    for group, result in zip(groups, denoised, strict=True):
        error = result.astype(np.float64) - truth
        sums[group] += error
        squares += error**2
    total = sums.sum(axis=0)
    variance = np.maximum(squares - total**2 / draws, 0) / (draws - 1)
    return Bias(sums / np.bincount(groups)[:, None, None], np.sqrt(variance), draws)


def marked(chance: Float64Array, rate: float = FALSE_DISCOVERIES) -> Mask:
    """Return the pixels with significant bias, with an expected false-discovery rate of at most `rate`.

    Benjamini and Yekutieli's procedure (Annals of Statistics 29(4), 2001), valid for any dependence between pixels: the
    k smallest of m p-values are marked for the largest k with p_k <= k rate / (m * sum of 1 / i).
    """
    ordered = np.sort(chance, axis=None)
    count = len(ordered)
    limit = np.arange(1, count + 1) * (rate / (count * (1 / np.arange(1, count + 1)).sum()))
    below = np.flatnonzero(ordered <= limit)
    return np.asarray(chance <= ordered[below[-1]]) if len(below) else np.zeros(chance.shape, dtype=bool)
