"""Uncertainty of measured figures: the seeded percentile bootstrap (Efron and Tibshirani 1993, ch. 13).

Values lie along axes of independent repeats, such as draws of noise and places in images. Along each axis that is named
the repeats are drawn again with replacement, along all of them at once (Owen, Ann. Appl. Stat. 1(2), 2007), so that a
figure from few places is as uncertain as few places make it, however many draws it has. Percentile intervals of few
repeats are too narrow; they are expanded as Hesterberg, Am. Stat. 69(4), 2015, says in section 3.5,
yet never reach beyond the repeats themselves. Measured with normal values, 95% intervals hold the truth 87 times in 100
with four repeats, 92 with six, 94 with eight or more: have eight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command, missing_package
from cxr_infer.lab.findings import Estimate

Array = NDArray[np.float64]
Statistic = Callable[[Array], ArrayLike]

RESAMPLES = 1000
CONFIDENCE = 0.95


def bootstrap(
    values: ArrayLike, statistic: Statistic, seed: int, *, axes: Sequence[int] = (0,), resamples: int = RESAMPLES
) -> tuple[Array, Array, Array]:
    """The statistic of the values, and the ends of its 95% interval: three arrays of the statistic's shape.

    values: any shape; axes: those along which repeats lie. statistic: values -> a number or an array. A statistic that
    is NaN for a resample is left out there; one that is always NaN has no interval, NaN at both ends. A single repeat
    has none either: both ends are the value. Raises UsageError where SciPy is missing.
    """
    data = np.asarray(values, dtype=np.float64)
    found = np.asarray(statistic(data), dtype=np.float64)
    rng = np.random.default_rng([seed, resamples])
    again = np.stack([np.asarray(statistic(_resampled(data, axes, rng)), dtype=np.float64) for _ in range(resamples)])
    known = np.isfinite(again).any(axis=0)
    tail = _tail(min((data.shape[axis] for axis in axes if data.shape[axis] > 1), default=2))
    low, high = np.nanquantile(np.where(known, again, 0), [tail, 1 - tail], axis=0)
    return found, np.where(known, low, np.nan), np.where(known, high, np.nan)


@lru_cache(maxsize=64)
def _tail(repeats: int) -> float:
    """The quantile at which the lower end lies: Phi(-sqrt(n / (n - 1)) t), t of Student's distribution."""
    try:
        from scipy.special import stdtrit
    except ImportError as error:
        raise UsageError(missing_package("scipy", install_command("lab"))) from error
    t = float(stdtrit(repeats - 1, (1 + CONFIDENCE) / 2))
    return NormalDist().cdf(-t * float(np.sqrt(repeats / (repeats - 1))))


def _resampled(data: Array, axes: Sequence[int], rng: np.random.Generator) -> Array:
    for axis in axes:
        data = np.take(data, rng.integers(data.shape[axis], size=data.shape[axis]), axis=axis)
    return data


def estimate(
    values: ArrayLike,
    statistic: Statistic = np.mean,
    *,
    seed: int,
    axes: Sequence[int] = (0,),
    resamples: int = RESAMPLES,
) -> Estimate:
    """A number with its 95% interval, which is widened to hold the number itself. The rest: see `bootstrap`."""
    return estimates(values, statistic, seed=seed, axes=axes, resamples=resamples)[0]


def estimates(
    values: ArrayLike, statistic: Statistic, *, seed: int, axes: Sequence[int] = (0,), resamples: int = RESAMPLES
) -> tuple[Estimate, ...]:
    """One estimate for each number of the statistic, in order. The rest: see `bootstrap`."""
    columns = (np.ravel(column) for column in bootstrap(values, statistic, seed, axes=axes, resamples=resamples))
    return tuple(
        Estimate(float(value), float(np.fmin(low, value)), float(np.fmax(high, value)))
        for value, low, high in zip(*columns, strict=True)
    )


def ratio_of_sums(values: Array) -> Array:
    """Sum of the first of the last axis' two columns over that of the second; NaN where that is 0."""
    over, under = (values[..., index].sum() for index in (0, 1))
    return np.asarray(over / under if under else np.nan)


def scaled(point: Estimate, factor: float) -> Estimate:
    """An estimate in another unit. factor: above 0."""
    return Estimate(point.value * factor, point.low * factor, point.high * factor)
