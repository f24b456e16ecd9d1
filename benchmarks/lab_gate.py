"""Compare a new network with a stored result of the lab: points that are worse beyond both uncertainties.

Of many points of equal networks a few are worse by chance. The gate accepts as many as chance may bring, unless one of
them is worse beyond chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from cxr_infer.errors import DataError
from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.chart import shown_estimate
from cxr_infer.lab.comparison import SAME, WORSE, Pair, values_of
from cxr_infer.lab.findings import Estimate, Finding
from cxr_infer.lab.protocol_files import protocol_hash
from cxr_infer.lab.result import LabResult

CHANCE = 0.0028  # that 95% intervals of two equally uncertain, equal figures do not overlap, the later being worse
RARE = 0.05  # probability that equal networks have more worse points than accepted
CERTAIN = 1.5  # factor on intervals, which then fail to overlap by chance at one in 60,000 points of equal networks
# studies in which a network must not lose
GUARDED = ("contrast-kept", "transfer", "lines", "detectability", "search", "contrast-detail")


@dataclass(frozen=True)
class GateComparison:
    """pairs: stored before, measured after. missing: stored points that were not measured or are no longer finite, in
    words.
    """

    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]

    @property
    def worse(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.verdict == WORSE]

    @property
    def better(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.verdict not in (WORSE, SAME)]

    @property
    def certainly_worse(self) -> list[Pair]:
        """Points that are worse even with CERTAIN times the uncertainty."""
        wider = (replace(p, before=stretched(p.before), after=stretched(p.after)) for p in self.worse)
        return [pair for pair, wide in zip(self.worse, wider, strict=True) if wide.verdict == WORSE]

    @property
    def by_chance(self) -> int:
        return most_by_chance(len(self.pairs))

    @property
    def passes(self) -> bool:
        return not self.missing and not self.certainly_worse and len(self.worse) <= self.by_chance


def stretched(estimate: Estimate) -> Estimate:
    """Extend both ends of an interval by the factor CERTAIN."""
    value = estimate.value
    return Estimate(value, value + CERTAIN * (estimate.low - value), value + CERTAIN * (estimate.high - value))


def most_by_chance(points: int) -> int:
    """Return the number of worse points that equal networks exceed only with probability RARE (binomial,
    independent).
    """
    found, share = 0, (1 - CHANCE) ** points
    while share < 1 - RARE:
        found += 1
        share += math.comb(points, found) * CHANCE**found * (1 - CHANCE) ** (points - found)
    return found


def compare(
    stored: LabResult, measured: LabResult, before: str, after: str, guarded: Sequence[str] = GUARDED
) -> GateComparison:
    """Compare the points of the guarded studies. before, after: name of the network in the stored and the measured
    result.

    Raises DataError if the two were measured differently, or the stored result lacks that network.
    """
    if protocol_hash(stored.protocol) != protocol_hash(measured.protocol):
        raise DataError("the stored result has another protocol or version; measure and store it again")
    if [one.sha256 for one in stored.images] != [one.sha256 for one in measured.images]:
        raise DataError("the stored result has other images; measure and store it again")
    of_stored, of_measured = values_of(stored.findings, before), values_of(measured.findings, after)
    gone = {place for place, (_, value) in of_stored.items() if not _still_told(value, of_measured.get(place))}
    kept = {place: found for place, found in of_stored.items() if found[0].study in guarded}
    if not kept:
        raise DataError(f"the stored result has no figures of {before} in {', '.join(guarded)}; measure it again")
    return GateComparison(
        tuple(
            Pair(finding, place[1], place[2], value, of_measured[place][1])
            for place, (finding, value) in kept.items()
            if place not in gone
        ),
        tuple(f"{key}, {condition}, {shown_number(x)}" for key, condition, x in kept if (key, condition, x) in gone),
    )


def _still_told(stored: Estimate, found: tuple[Finding, Estimate] | None) -> bool:
    """Whether a point was measured and is finite where the stored one is; a non-finite figure cannot be compared."""
    return found is not None and all(
        math.isfinite(after) or not math.isfinite(before)
        for before, after in zip(astuple(stored), astuple(found[1]), strict=True)
    )


def described(pair: Pair) -> str:
    """Describe one point in words."""
    finding = pair.finding
    where = ", ".join(filter(None, (finding.key, pair.condition, f"{finding.x.name} {shown_number(pair.x)}")))
    return f"{where}: {finding.y.name} {shown_estimate(pair.before)} -> {shown_estimate(pair.after)}"
