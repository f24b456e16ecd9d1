"""Uncertainty of measured figures: the seeded percentile bootstrap (Efron and Tibshirani 1993, ch. 13).

Values lie along axes of independent repeats, such as draws of noise and places in images. Repeats are resampled with
replacement along all named axes at once (Owen, Ann. Appl. Stat. 1(2), 2007), so that a figure from few places has a
correspondingly large uncertainty, however many draws it has. Percentile intervals of few repeats are too narrow; they
are expanded as in Hesterberg, Am. Stat. 69(4), 2015, section 3.5, but never beyond the repeats themselves. Measured
with normal values, 95% intervals contain the truth 87 times in 100 with four repeats, 92 with six, 94 with eight or
more: use eight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command, missing_package
from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.findings import CONFIDENCE, Estimate

Statistic = Callable[[Float64Array], ArrayLike]

RESAMPLES = 1000


def bootstrap(
    values: ArrayLike, statistic: Statistic, seed: int, *, axes: Sequence[int] = (0,), resamples: int = RESAMPLES
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the statistic of the values and the ends of its 95% interval: three arrays of the statistic's shape.

    values: any shape; axes: along which repeats lie. statistic: values -> a number or an array. Resamples for which the
    statistic is NaN are skipped; if it always is, both ends are NaN. With a single repeat both ends equal the value.
    Raises UsageError if SciPy is missing.
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
    """Return the quantile of the lower end: Phi(-sqrt(n / (n - 1)) t), t of Student's distribution."""
    try:
        from scipy.special import stdtrit
    except ImportError as error:
        raise UsageError(missing_package("scipy", install_command("lab"))) from error
    t = float(stdtrit(repeats - 1, (1 + CONFIDENCE) / 2))
    return NormalDist().cdf(-t * float(np.sqrt(repeats / (repeats - 1))))


def _resampled(data: Float64Array, axes: Sequence[int], rng: np.random.Generator) -> Float64Array:
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
    """Return a number with its 95% interval, widened to contain the number itself. Arguments: see `bootstrap`."""
    return estimates(values, statistic, seed=seed, axes=axes, resamples=resamples)[0]


def estimates(
    values: ArrayLike, statistic: Statistic, *, seed: int, axes: Sequence[int] = (0,), resamples: int = RESAMPLES
) -> tuple[Estimate, ...]:
    """Return one estimate for each number of the statistic, in order. Arguments: see `bootstrap`."""
    columns = (np.ravel(column) for column in bootstrap(values, statistic, seed, axes=axes, resamples=resamples))
    return tuple(
        Estimate(float(value), float(np.fmin(low, value)), float(np.fmax(high, value)))
        for value, low, high in zip(*columns, strict=True)
    )


def ratio_of_sums(values: Float64Array) -> Float64Array:
    """Divide the sum of the first column of the last axis by that of the second; NaN if the second is 0."""
    over, under = (values[..., index].sum() for index in (0, 1))
    return np.asarray(over / under if under else np.nan)


def scaled(point: Estimate, factor: float) -> Estimate:
    """Convert an estimate to another unit. factor: above 0."""
    return Estimate(point.value * factor, point.low * factor, point.high * factor)
