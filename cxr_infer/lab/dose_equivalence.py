"""Find the dose at which the undenoised image would be as good for a task as the denoised one at its own dose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.crossing import crossing
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.jackknife import jackknife

TINY = 1e-3  # lower bound of d' before its logarithm


@dataclass(frozen=True)
class Equivalent:
    """ratio: equivalent dose divided by the given dose, None if outside the measured doses. open_end: whether the
    interval extends beyond them and was clipped.
    """

    ratio: Estimate | None
    open_end: bool = False


def equivalent_dose(doses: Float64Array, before: Float64Array, after: float) -> float | None:
    """Return the dose at which the undenoised image reaches the d' `after`; None outside the measured doses.

    doses: (n,), rising. before: d' of the undenoised image at each, above 0. log d' is interpolated linearly in log
    dose, as for quantum noise, where d' is proportional to the square root of the dose.
    """
    found = crossing(np.log(doses), np.log(before), float(np.log(after)))
    return None if found is None else float(np.exp(found))


def equivalence(
    doses: Float64Array, before: Float64Array, after: float, left_out: list[tuple[Float64Array, float]], dose: float
) -> Equivalent:
    """Return the ratio of equivalent and given dose, with a jackknife interval of its logarithm.

    left_out: d' before and after without each group of draws. dose: the given dose.
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
