"""The dose at which the image as it is would be as good for a task as the denoised one is at its own dose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_infer.lab.crossing import crossing
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.jackknife import jackknife

Array = NDArray[np.float64]
TINY = 1e-3  # d', for one that is 0


@dataclass(frozen=True)
class Equivalent:
    """ratio: of the equivalent dose to the dose that was given, None where it lies beyond the doses measured.

    open_end: whether the interval reaches beyond them, and was cut off there.
    """

    ratio: Estimate | None
    open_end: bool = False


def equivalent_dose(doses: Array, before: Array, after: float) -> float | None:
    """The dose at which the undenoised image reaches the d' `after`; None beyond the doses measured.

    doses: (n,), rising. before: d' of the undenoised image at each, above 0. Between two doses log d' is taken as
    straight in log dose, as it is for quantum noise, where d' goes with the square root of the dose; never beyond them.
    """
    found = crossing(np.log(doses), np.log(before), float(np.log(after)))
    return None if found is None else float(np.exp(found))


def equivalence(
    doses: Array, before: Array, after: float, left_out: list[tuple[Array, float]], dose: float
) -> Equivalent:
    """The ratio of equivalent and given dose with a jackknife interval of its logarithm.

    left_out: d' before and after without each group of draws. dose: the one given.
    """
    if len(doses) < 2 or not np.all(before > 0) or after <= 0:
        return Equivalent(None)
    value = equivalent_dose(doses, before, after)
    if value is None:
        return Equivalent(None)
    logs, beyond = [], False
    for other, reached in left_out:
        found = equivalent_dose(doses, np.maximum(other, TINY), max(reached, TINY))
        beyond |= found is None
        logs.append(np.log(found if found is not None else doses[-1 if reached > other[0] else 0]))
    interval = jackknife(float(np.log(value)), np.array(logs))
    low, high = np.exp(np.clip([interval.low, interval.high], np.log(doses[0]), np.log(doses[-1])))
    beyond |= bool(np.exp(interval.low) < doses[0] or np.exp(interval.high) > doses[-1])
    return Equivalent(Estimate(value / dose, float(low) / dose, float(high) / dose), beyond)
