"""The dose at which a denoised image shows a signal as well as the noisy image at full dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.crossing import crossing
from cxr_infer.lab.findings import Estimate


def dose_needed(worth: Mapping[float, Estimate], full: float) -> str:
    """Return that dose as text, such as `160 (140 to >200)`; `>200` if no measured dose is enough.

    worth: by dose, the equivalent dose of the undenoised image divided by the dose. full: photons at white, the highest
    dose. The equivalent dose is interpolated linearly in its logarithm over that of the dose; its interval gives that
    of the dose. Returns "" if nothing is known at full dose.
    """
    doses = sorted(worth)
    if full not in worth:
        return ""
    value, from_high, from_low = (
        _reached(doses, [getattr(worth[dose], end) * dose for dose in doses], full) for end in ("value", "high", "low")
    )
    if value is None:
        return f">{shown_number(full)}" if worth[full].value < 1 else f"<{shown_number(doses[0])}"
    low = f"<{shown_number(doses[0])}" if from_high is None else shown_number(from_high)
    high = f">{shown_number(full)}" if from_low is None else shown_number(from_low)
    return f"{shown_number(value)} ({low} to {high})"


def _reached(doses: Sequence[float], equivalent: Sequence[float], full: float) -> float | None:
    """Return the dose at which the equivalent dose reaches the full one, or None if it does not."""
    found = crossing(np.log(doses), np.log(equivalent), float(np.log(full)))
    return None if found is None else float(np.exp(found))
