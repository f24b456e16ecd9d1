"""Summarise a result for reading in a minute: the dose each task is worth, the costs, and the case against a method.

Nothing is computed here except counts of points, products of doses and ratios, and interpolation between doses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.chart import shown_estimate
from cxr_infer.lab.comparison import BETTER, SAME, WORSE, pairs
from cxr_infer.lab.findings import Estimate, Finding
from cxr_infer.lab.full_dose import dose_needed
from cxr_infer.lab.methods import CLASSICAL
from cxr_infer.lab.protocol import NOISY, Protocol, Signal
from cxr_infer.lab.repeated import NAME as REPEATED
from cxr_infer.lab.result import LabResult
from cxr_infer.report.columns import NO_FIGURE

KNOWN, SEARCH, WORTH, KEPT = "detectability", "search", "dose-equivalence", "contrast-kept"  # keys up to the slash
KEPT_D_PRIME = "detectability-kept"
# keys, or keys up to the slash, of what must not be worse than in the noisy image, and their descriptions
HARMS = {
    KNOWN: "d' at a known place",
    KEPT_D_PRIME: "d' at a known place",
    "detectability-eye": "d' of an eye with internal noise",
    SEARCH: "signals found in a search",
    "search-change": "signals found in a search",
    "contrast-detail/threshold": "the faintest disc seen",
    "lines/lost": "lines lost",
    "lines/made-up": "false lines",
    "bias/structure-from-noise": "structure made from pure noise",
}
# a comparison draw by draw says more than two intervals
DRAW_BY_DRAW = {KNOWN: KEPT_D_PRIME, SEARCH: "search-change"}
# costs of denoising, by noise and dose: heading and key of the finding
COSTS = (
    ("bias, RMS gray levels", "bias/size"),
    ("lines lost per megapixel", "lines/lost"),
    ("false lines per megapixel", "lines/made-up"),
)

Counts = dict[str, Counter[int]]


@dataclass(frozen=True)
class ReadingTable:
    """One table as text. note: printed below it."""

    title: str
    headings: tuple[str, ...]
    rows: list[list[str]]
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """against: the case against a method. sentences: the rest. tables: the figures behind both."""

    against: tuple[str, ...]
    sentences: tuple[str, ...]
    tables: tuple[ReadingTable, ...]


class FigureLookup:
    """Looks up points by what they are about."""

    def __init__(self, findings: Sequence[Finding], protocol: Protocol) -> None:
        self._by_key = {finding.key: finding for finding in findings}
        self._unit = protocol.unit_of_length

    def of_task(self, kind: str, signal: Signal, method: str, noise: str, dose: float) -> Estimate | None:
        """Return a figure of the observer."""
        key = f"{kind}/{signal.kind}-{signal.size:g}-{signal.contrast:+g}"
        return self.at(key, method, noise, dose)

    def kept(self, signal: Signal, method: str, noise: str, dose: float) -> Estimate | None:
        """Return the fraction of its own contrast that a signal keeps."""
        dark = "" if signal.contrast > 0 or signal.kind == "dark-line" else "-dark"
        key = f"{KEPT}/{signal.kind}-{signal.size:g}{self._unit}{dark}"
        return self.at(key, method, f"{dose:g} photons, {noise}", abs(signal.contrast))

    def at(self, key: str, method: str, condition: str, x: float) -> Estimate | None:
        finding = self._by_key.get(key)
        for series in finding.series if finding is not None else ():
            if (series.method, series.condition) == (method, condition):
                return dict(zip(series.x, series.y, strict=True)).get(x)
        return None

    def shown(self, signal: Signal) -> str:
        sign = "+" if signal.contrast > 0 else ""
        return f"{signal.kind}, {signal.size:g} {self._unit}, {sign}{shown_number(signal.contrast)}"


def subject_of(result: LabResult) -> str:
    """Return the method a result is about: the first model, else the first that does something."""
    names = [one.name for one in result.methods if one.sha256] + [one.name for one in result.methods]
    return next((name for name in names if name != NOISY), NOISY)


def read_off(result: LabResult) -> Reading:
    """Return the reading of a result."""
    subject, figures = subject_of(result), FigureLookup(result.findings, result.protocol)
    methods = [one.name for one in result.methods if one.name != NOISY]
    counts = {method: against_noisy(result.findings, method) for method in methods}
    tables = (
        _full_dose(result.protocol, figures, subject),
        _tasks(result.protocol, figures, subject),
        _side_by_side(result.protocol, figures, methods),
        _costs(result.protocol, figures, subject),
        _frames(result.findings, subject),
        _counted(result.findings, counts),
    )
    return Reading(
        tuple(line for method in methods for line in _against(result.findings, method)),
        (
            *_no_gain(result.findings, methods),
            *_sentences(result.protocol, figures, subject),
            *_told(methods),
            *(f"{name} was left out: it is not installed." for name in result.left_out),
        ),
        tuple(table for table in tables if table.rows),
    )


def group_of(finding: Finding) -> str:
    """Return what a finding measures, whatever the signal."""
    if finding.study == KEPT:
        return "Contrast kept"
    return finding.title.partition(": ")[0]


def against_noisy(findings: Sequence[Finding], method: str) -> Counts:
    """Count, for each group of findings, points of a method that are better, the same or worse than the noisy image."""
    counted: Counts = {}
    for pair in pairs(findings, NOISY, method):
        counted.setdefault(group_of(pair.finding), Counter())[pair.verdict] += 1
    return counted


def _against(findings: Sequence[Finding], method: str) -> Iterator[str]:
    """Yield the case against a method: where it is worse than doing nothing."""
    found = _harms(findings, method)
    worse = [
        f"{HARMS[key]} ({found[key][WORSE]} of {found[key].total()} points)" for key in HARMS if _worse(found, key)
    ]
    if worse:
        said = "; ".join(worse)
        yield f"Against {method}: it is worse than the noisy image, beyond the uncertainty of both, in {said}."


def _harms(findings: Sequence[Finding], method: str) -> Counts:
    """Count points of a method that are better, the same or worse, by the keys of HARMS."""
    found: Counts = {}
    for pair in pairs(findings, NOISY, method):
        for key in (pair.finding.key, pair.finding.key.partition("/")[0]):
            if key in HARMS:
                found.setdefault(key, Counter())[pair.verdict] += 1
    return {key: count for key, count in found.items() if DRAW_BY_DRAW.get(key) not in found}


def _no_gain(findings: Sequence[Finding], methods: Sequence[str]) -> Iterator[str]:
    """State what theory expects, where it holds: no gain at a known place."""
    known = {}
    for method in methods:
        found = _harms(findings, method)
        count = found.get(DRAW_BY_DRAW[KNOWN], found.get(KNOWN))
        if count is not None:
            known[method] = count
    without = [method for method, count in known.items() if not count[BETTER]]
    if without:
        points = max(known[method].total() for method in without)
        yield (
            f"{' and '.join(without)}: no signal at a known place is more detectable after denoising (d' better in 0 "
            f"of {points} points). Theory expects this of any denoiser: it buys no dose for such a task."
        )
    for method in known:
        if method not in without:
            better = known[method]
            yield f"{method}: d' at a known place is better in {better[BETTER]} of {better.total()} points."


def _told(methods: Sequence[str]) -> Iterator[str]:
    """Say which methods were told the noise."""
    told = [name for name in methods if name in CLASSICAL]
    if told:
        others = "; the others must estimate it from the image" if len(told) < len(methods) else ""
        yield f"Told the true noise, its strength at each brightness and its spectrum: {', '.join(told)}{others}."


def _worse(found: Counts, key: str) -> bool:
    return key in found and found[key][WORSE] > 0


def _sentences(protocol: Protocol, figures: FigureLookup, subject: str) -> Iterator[str]:
    """Yield, for each signal and noise, worth and cost at the middle of the doses with known worth."""
    for noise in protocol.noises:
        for signal in protocol.signals:
            known = {dose: figures.of_task(WORTH, signal, subject, noise, dose) for dose in sorted(protocol.doses)}
            worth = {dose: value for dose, value in known.items() if value is not None}
            if not worth:
                continue
            dose = sorted(worth)[len(worth) // 2]
            kept = figures.kept(signal, subject, noise, dose)
            cost = "" if kept is None else f"; {shown_estimate(scaled(kept, 100))} % of its contrast is left"
            yield (
                f"{figures.shown(signal)}, {noise} noise: after {subject} at {shown_number(dose)} photons it is as "
                f"detectable as before at {shown_estimate(scaled(worth[dose], dose))} photons{cost}."
            )


def _full_dose(protocol: Protocol, figures: FigureLookup, subject: str) -> ReadingTable:
    """Return a row per signal and a column per noise."""
    full, rows = max(protocol.doses), []
    for signal in protocol.signals:
        cells = []
        for noise in protocol.noises:
            known = {dose: figures.of_task(WORTH, signal, subject, noise, dose) for dose in protocol.doses}
            cells.append(dose_needed({dose: worth for dose, worth in known.items() if worth is not None}, full))
        if any(cells):
            rows.append([figures.shown(signal), *(cell or NO_FIGURE for cell in cells)])
    shown = shown_number(full)
    title = f"Photons at which {subject} shows a signal as well as the noisy image at full dose ({shown} photons)"
    note = (
        f"At a known place. Below {shown}: a gain. >{shown}: no measured dose is enough, a loss. If the interval ends "
        f"above {shown}, neither is certain."
    )
    return ReadingTable(title, ("signal", *protocol.noises), rows, note)


def _tasks(protocol: Protocol, figures: FigureLookup, subject: str) -> ReadingTable:
    """Return a row for each signal, noise and dose with a known figure."""
    headings = (
        *("signal and noise", "N", "M", "d' before", "d' after"),
        *("found in a search before, %", "after, %", "contrast left, %"),
    )
    rows = []
    for signal in protocol.signals:
        for noise in protocol.noises:
            for dose in protocol.doses:
                worth = figures.of_task(WORTH, signal, subject, noise, dose)
                kept = figures.kept(signal, subject, noise, dose)
                seen = [
                    figures.of_task(kind, signal, method, noise, dose)
                    for kind in (KNOWN, SEARCH)
                    for method in (NOISY, subject)
                ]
                if any(each is not None for each in (worth, kept, *seen)):
                    cells = [_shown(worth, dose), *map(_shown, seen), _shown(kept, 100)]
                    rows.append([f"{figures.shown(signal)}; {noise}", shown_number(dose), *cells])
    note = (
        f"In brackets: 95% intervals. {NO_FIGURE} for M: not detectable before denoising, or outside the measured "
        "doses. Contrast left is at the signal's own contrast. Each row holds for that signal and noise only; it never "
        "justifies a lower dose."
    )
    return ReadingTable(f"After {subject} at N photons, as detectable as before at M photons", headings, rows, note)


def _side_by_side(protocol: Protocol, figures: FigureLookup, methods: Sequence[str]) -> ReadingTable:
    """Return a row per signal, noise and dose and a column per method; no rows if there is only one method."""
    rows = []
    for signal in protocol.signals if len(methods) > 1 else ():
        for noise in protocol.noises:
            for dose in protocol.doses:
                found = [figures.of_task(KEPT_D_PRIME, signal, method, noise, dose) for method in methods]
                if any(each is not None for each in found):
                    rows.append([f"{figures.shown(signal)}; {noise}", shown_number(dose), *map(_shown, found)])
    fewer = [f"{name} {protocol.draws_of(name)}" for name in methods if protocol.fewer(name) is not None]
    drawn = f" n: {protocol.draws} draws; {'; '.join(fewer)}." if fewer else ""
    note = (
        "1: no loss. Each method is compared with the noisy image of the same draws. Signals that are not detectable "
        f"before denoising are left out.{drawn}"
    )
    return ReadingTable(
        "d' after denoising over d' before, method by method", ("signal and noise", "N", *methods), rows, note
    )


def _costs(protocol: Protocol, figures: FigureLookup, subject: str) -> ReadingTable:
    """Return a row for each noise and dose: before and after."""
    headings = tuple(f"{name}, {when}" for name, _ in COSTS for when in ("before", "after"))
    rows = []
    for noise in protocol.noises:
        for dose in protocol.doses:
            found = [figures.at(key, method, noise, dose) for _, key in COSTS for method in (NOISY, subject)]
            if any(each is not None for each in found):
                rows.append([f"{noise}, {shown_number(dose)} photons", *map(_shown, found)])
    note = (
        "Before: the noisy image. A line is lost if denoising leaves less than half its contrast, false if the clean "
        "image shows less than half of it. Bias is the error of the mean of all draws."
    )
    return ReadingTable(f"What {subject} costs", ("noise and dose", *headings), rows, note)


def _frames(findings: Sequence[Finding], subject: str) -> ReadingTable:
    """Return the results of repeated exposures, before and after."""
    rows = [
        [
            f"{pair.finding.title}, {pair.finding.x.name} {shown_number(pair.x)}",
            *map(shown_estimate, (pair.before, pair.after)),
        ]
        for pair in pairs(findings, NOISY, subject)
        if pair.finding.study == REPEATED
    ]
    note = "From frames of one object on your own detector, without a clean image."
    return ReadingTable("On the repeated exposures", ("measured", "before", f"after {subject}"), rows, note)


def _counted(findings: Sequence[Finding], counts: Mapping[str, Counts]) -> ReadingTable:
    """Return a row for each group of findings, a column for each method."""
    groups = [
        group for group in dict.fromkeys(map(group_of, findings)) if any(group in each for each in counts.values())
    ]
    rows = [[group, *(_three(each.get(group)) for each in counts.values())] for group in groups]
    note = (
        "Points better / the same / worse than the noisy image, beyond the uncertainty of both. In contrast and bias, "
        "no denoiser can be better than doing nothing."
    )
    return ReadingTable("Compared with the noisy image", ("measured", *counts), rows, note)


def _three(count: Counter[int] | None) -> str:
    return NO_FIGURE if count is None else f"{count[BETTER]} / {count[SAME]} / {count[WORSE]}"


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """Convert a fraction to percent, or a ratio of doses to a dose."""
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


def _shown(estimate: Estimate | None, factor: float = 1.0) -> str:
    return NO_FIGURE if estimate is None else shown_estimate(scaled(estimate, factor))
