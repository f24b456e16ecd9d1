"""What a new network lost against a stored result of the lab: points that are worse beyond both uncertainties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxr_infer.errors import DataError
from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.chart import shown_estimate
from cxr_infer.lab.comparison import SAME, WORSE, Pair, values_of
from cxr_infer.lab.protocol_files import protocol_hash
from cxr_infer.lab.result import LabResult

# studies in which a network must not lose: contrast kept, lines lost and made up, and d'
GUARDED = ("contrast-kept", "transfer", "lines", "detectability", "search", "contrast-detail")


@dataclass(frozen=True)
class Comparison:
    """pairs: stored before, measured after. missing: points that were stored and are not there any more, in words."""

    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]

    @property
    def worse(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.verdict == WORSE]

    @property
    def better(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.verdict not in (WORSE, SAME)]

    @property
    def passes(self) -> bool:
        return not self.worse and not self.missing


def compare(
    stored: LabResult, measured: LabResult, before: str, after: str, guarded: Sequence[str] = GUARDED
) -> Comparison:
    """The points of the guarded studies. before, after: name of the network in the stored and the measured result.

    Raises DataError where the two were not measured alike, or the stored result says nothing of that network.
    """
    if protocol_hash(stored.protocol) != protocol_hash(measured.protocol):
        raise DataError("the stored result is of another protocol or version of it; measure and store it again")
    if [one.sha256 for one in stored.images] != [one.sha256 for one in measured.images]:
        raise DataError("the stored result is of other images; measure and store it again")
    of_stored, of_measured = values_of(stored.findings, before), values_of(measured.findings, after)
    kept = {place: found for place, found in of_stored.items() if found[0].study in guarded}
    if not kept:
        raise DataError(f"the stored result has no figures of {before} in {', '.join(guarded)}; measure it again")
    return Comparison(
        tuple(
            Pair(finding, place[1], place[2], value, of_measured[place][1])
            for place, (finding, value) in kept.items()
            if place in of_measured
        ),
        tuple(
            f"{key}, {condition}, {shown_number(x)}"
            for key, condition, x in kept
            if (key, condition, x) not in of_measured
        ),
    )


def described(pair: Pair) -> str:
    """One point in words."""
    finding = pair.finding
    where = ", ".join(filter(None, (finding.key, pair.condition, f"{finding.x.name} {shown_number(pair.x)}")))
    return f"{where}: {finding.y.name} {shown_estimate(pair.before)} -> {shown_estimate(pair.after)}"
