"""Jackknife intervals for figures that are not plain means, by leaving out one group of draws at a time.

d', ratios of two d' and the size of a bias are biased for few draws. A bootstrap, which repeats draws, adds to the
bias; the jackknife does not. Draws shared by two methods stay together, so that the interval of their ratio is narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.findings import CONFIDENCE, Estimate
from cxr_infer.lab.scipy_functions import special

GROUPS, FEWEST_EVEN = 10, 6
LEAST_GROUPS = 4
PART_GROUPS = 20  # groups of parts of an image


def groups_of(draws: int) -> NDArray[np.intp]:
    """Return the group of each draw: at most GROUPS, of equal size if the number of draws allows, else nearly."""
    even = [count for count in range(GROUPS, FEWEST_EVEN - 1, -1) if draws % count == 0]
    count = min(even[0] if even else GROUPS, max(draws, 1))
    return np.arange(draws) * count // max(draws, 1)


def jackknife(value: float, left_out: Float64Array) -> Estimate:
    """Return the 95% interval of a figure: value +- t * sqrt((g - 1) / g * sum of (left out - their mean)^2) (Tukey
    1958).

    left_out: the same figure without each of g groups of equal size, (g,). Unbounded with fewer than LEAST_GROUPS.
    """
    count = len(left_out)
    if count < LEAST_GROUPS:
        return Estimate(value, -np.inf, np.inf)
    error = float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))
    reach = student(count - 1) * error
    return Estimate(value, value - reach, value + reach)


def share_kept(sums: Float64Array) -> Estimate:
    """Return the ratio of two sums over parts of an image, with a jackknife interval over groups of parts.

    sums: (2, parts), numerator and denominator.
    """
    groups = np.arange(sums.shape[1]) * PART_GROUPS // sums.shape[1]
    total = sums.sum(axis=1)
    rests = [total - sums[:, groups == group].sum(axis=1) for group in np.unique(groups)]
    known = [rest[0] / rest[1] for rest in rests if rest[1] != 0]
    return jackknife(float(total[0] / total[1]), np.array(known))


def mean_estimate(values: Float64Array) -> Estimate:
    """Return the mean of independent draws with Student's 95% interval. values: (n,), at least 2."""
    count = len(values)
    reach = student(count - 1) * float(values.std(ddof=1)) / float(np.sqrt(count))
    mean = float(values.mean())
    return Estimate(mean, mean - reach, mean + reach)


def student(freedom: int) -> float:
    """Return the two-sided 95% quantile of Student's t."""
    return float(special().stdtrit(freedom, (1 + CONFIDENCE) / 2))
