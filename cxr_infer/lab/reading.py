"""What a result says in one minute: for each task the dose that it is worth, what was lost for it, and what speaks
against a method. Nothing is computed here but counts of points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.chart import shown_estimate
from cxr_infer.lab.comparison import BETTER, SAME, WORSE, pairs
from cxr_infer.lab.findings import Estimate, Finding
from cxr_infer.lab.result import LabResult

NOISY = "noisy"
KNOWN, WORTH, SEARCH = "detectability", "dose-equivalence", "search"  # kinds of findings: their keys up to the slash
NO_FIGURE = "–"  # noqa: RUF001 - as in the tables of the report
NAMED = 6  # kinds in one sentence

Rows = list[list[str]]


@dataclass(frozen=True)
class Table:
    """One table in words. note: what stands under it."""

    title: str
    headings: tuple[str, ...]
    rows: Rows
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """against: what speaks against a method, plainly. sentences: the rest. tables: the figures behind both."""

    against: tuple[str, ...]
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]


def kind_of(finding: Finding) -> str:
    """What a finding measures, whatever signal it measures it on: its key up to the slash."""
    return finding.key.partition("/")[0]


def subject_of(result: LabResult) -> str:
    """The method that the result is about: the first model, else the first that does something."""
    names = [one.name for one in result.methods if one.sha256] + [one.name for one in result.methods]
    return next((name for name in names if name != NOISY), NOISY)


def read_off(result: LabResult) -> Reading:
    """The reading of a result."""
    subject = subject_of(result)
    methods = [one.name for one in result.methods if one.name != NOISY]
    counts = {method: against_noisy(result.findings, method) for method in methods}
    tables = (_tasks(result, subject), _counts(result.findings, counts))
    return Reading(
        tuple(line for method in methods for line in _against(method, counts[method])),
        tuple(_sentences(result, subject)),
        tuple(table for table in tables if table.rows),
    )


def against_noisy(findings: Sequence[Finding], method: str) -> dict[str, Counter[int]]:
    """For each kind of finding, how many points of a method are better, the same or worse than of the noisy image."""
    counted: dict[str, Counter[int]] = {}
    for pair in pairs(findings, NOISY, method):
        counted.setdefault(kind_of(pair.finding), Counter())[pair.verdict] += 1
    return counted


def _against(method: str, counts: Mapping[str, Counter[int]]) -> Iterator[str]:
    """Sentences that speak against a method."""
    worse = [f"{kind} in {count[WORSE]} of {count.total()}" for kind, count in counts.items() if count[WORSE]]
    if worse:
        more = f" and {len(worse) - NAMED} more" if len(worse) > NAMED else ""
        yield (
            f"Against {method}: worse than the image as it is, beyond the uncertainty of both, by "
            f"{'; '.join(worse[:NAMED])}{more} (points)."
        )
    known = counts.get(KNOWN)
    if known is not None and not known[BETTER]:
        yield (
            f"{method} makes no signal at a known place more detectable to the observer (d' better in 0 of "
            f"{known.total()} points), as theory expects of any denoiser: it buys no dose there."
        )


def _sentences(result: LabResult, subject: str) -> Iterator[str]:
    """The dose that each task is worth after the subject, at the middle dose at which that is known."""
    for finding in _of_kind(result.findings, WORTH):
        for condition, points in _points(finding, subject).items():
            doses = sorted(points)
            if doses:
                dose = doses[len(doses) // 2]
                yield (
                    f"A {_label(finding)}, {condition} noise: after {subject} at {shown_number(dose)} photons it is as "
                    f"detectable as before at {shown_estimate(scaled(points[dose], dose))} photons."
                )


def _tasks(result: LabResult, subject: str) -> Table:
    """A row for each signal, noise and dose."""
    headings = (
        *("signal", "noise", "photons N"),
        *(f"after {subject} at N as detectable as before at", "d' before", "d' after"),
        *("found in a search before, %", "after, %"),
    )
    rows = []
    for known in _of_kind(result.findings, KNOWN):
        slug = known.key.partition("/")[2]
        worth, search = (_one(result.findings, f"{kind}/{slug}") for kind in (WORTH, SEARCH))
        for condition, after in _points(known, subject).items():
            for dose, value in after.items():
                equal = _at(worth, subject, condition, dose)
                rows.append(
                    [
                        _label(known),
                        condition,
                        shown_number(dose),
                        NO_FIGURE if equal is None else shown_estimate(scaled(equal, dose)),
                        _shown(_at(known, NOISY, condition, dose)),
                        shown_estimate(value),
                        _shown(_at(search, NOISY, condition, dose)),
                        _shown(_at(search, subject, condition, dose)),
                    ]
                )
    note = (
        f"In brackets: 95% intervals. {NO_FIGURE} in the fourth column: not to be told from noise before denoising, or "
        "beyond the doses measured. Each row holds for that signal and noise alone; no examination's dose may be "
        "lowered by it."
    )
    return Table("Which dose each task is worth", headings, rows, note)


def _counts(findings: Sequence[Finding], counts: Mapping[str, Mapping[str, Counter[int]]]) -> Table:
    """A row for each kind of finding, a column for each method."""
    kinds = dict.fromkeys(kind_of(each) for each in findings)
    measured = [kind for kind in kinds if any(kind in of_method for of_method in counts.values())]
    rows = [
        [kind.replace("-", " "), *(_counted(of_method.get(kind)) for of_method in counts.values())] for kind in measured
    ]
    note = "Points that are better / the same / worse than those of the noisy image, beyond the uncertainty of both."
    return Table("Against the image as it is", ("measured", *counts), rows, note)


def _counted(count: Counter[int] | None) -> str:
    return NO_FIGURE if count is None else f"{count[BETTER]} / {count[SAME]} / {count[WORSE]}"


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """A ratio of doses as a dose."""
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


def _of_kind(findings: Sequence[Finding], kind: str) -> list[Finding]:
    return [finding for finding in findings if kind_of(finding) == kind]


def _one(findings: Sequence[Finding], key: str) -> Finding | None:
    return next((finding for finding in findings if finding.key == key), None)


def _label(finding: Finding) -> str:
    """The signal of a finding: what follows the colon of its title."""
    return finding.title.partition(": ")[2] or finding.title


def _points(finding: Finding, method: str) -> dict[str, dict[float, Estimate]]:
    """By condition, the points of one method."""
    return {
        series.condition: dict(zip(series.x, series.y, strict=True))
        for series in finding.series
        if series.method == method
    }


def _at(finding: Finding | None, method: str, condition: str, x: float) -> Estimate | None:
    return None if finding is None else _points(finding, method).get(condition, {}).get(x)


def _shown(estimate: Estimate | None) -> str:
    return NO_FIGURE if estimate is None else shown_estimate(estimate)
