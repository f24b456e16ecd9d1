"""Compare two measured values: is one better than the other beyond the uncertainty of both?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cxr_infer.lab.findings import Estimate, Finding
from cxr_infer.lab.result import points

WORSE, SAME, BETTER = -1, 0, 1
ROUNDING = 1e-4  # fraction of a value by which exact values may differ between processors
Place = tuple[str, str, float]  # key of the finding, condition, x


def verdict(before: Estimate, after: Estimate, higher_is_better: bool) -> int:
    """Return BETTER or WORSE if the intervals do not overlap, else SAME; SAME also if a value is not finite.

    Non-overlapping 95% intervals are stricter than a test at 5%: with equal errors, 1 in 200 pairs of equal values.
    """
    ends = (before.value, before.low, before.high, after.value, after.low, after.high)
    if not all(map(math.isfinite, ends)):
        return SAME
    slack = ROUNDING * max(abs(before.value), abs(after.value))
    if after.low > before.high + slack:
        return BETTER if higher_is_better else WORSE
    if after.high < before.low - slack:
        return WORSE if higher_is_better else BETTER
    return SAME


@dataclass(frozen=True)
class Pair:
    """One point of two methods, or of one method in two results."""

    finding: Finding
    condition: str
    x: float
    before: Estimate
    after: Estimate

    @property
    def verdict(self) -> int:
        return verdict(self.before, self.after, bool(self.finding.higher_is_better))


def values_of(findings: Sequence[Finding], method: str) -> dict[Place, tuple[Finding, Estimate]]:
    """Return all points of a method for which higher or lower is better."""
    return {
        (finding.key, series.condition, x): (finding, y)
        for finding, series, x, y in points(findings)
        if series.method == method and finding.higher_is_better is not None
    }


def pairs(findings: Sequence[Finding], before: str, after: str) -> Iterator[Pair]:
    """Yield the points shared by two methods of one result."""
    of_before = values_of(findings, before)
    for place, (finding, value) in values_of(findings, after).items():
        if place in of_before:
            yield Pair(finding, place[1], place[2], of_before[place][1], value)
