"""The parts of the page about the whole run: tiles, chart, headings, methods and versions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cxr_infer.model.card import RESEARCH_USE
from cxr_infer.report.columns import BY_KEY, QUALITY, Column, fixed, on_page
from cxr_infer.report.html.chart import chart
from cxr_infer.report.html.frame import asset, methods_section, opening
from cxr_infer.report.html.markup import OUTCOMES, text, tile, with_unit
from cxr_infer.report.html.methods import methods
from cxr_infer.report.html.statistics import RunStatistics, deviation, histogram, mean
from cxr_infer.report.results import FAILED, Summary
from cxr_infer.report.text import number_of_files
from cxr_infer.report.views import SIDE

MOST_ROWS = 1000  # of the table per outcome
SHA256_SHOWN = 12  # hex digits

SCRIPTS = ("table.js", "viewer.js", "reader.js")  # joined in this order
FIXED_COLUMNS = ("file", "outcome", "size, px")


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run other than its results.

    head: from `json_file.describe_run`. folders: paths or URLs to remove from messages.
    """

    head: dict[str, Any]
    folders: tuple[str, ...]
    with_reference: bool
    interrupted: bool
    ended: datetime = field(default_factory=lambda: datetime.now().astimezone())


def fields(run: RunFacts, summary: Summary, statistics: RunStatistics) -> dict[str, str]:
    """Return the fields of the template."""
    script = "".join(map(asset, SCRIPTS))
    source = Path(run.head["input"]).resolve().name or "X-rays"
    total = sum(statistics.statuses.values())
    return {
        "head": opening(
            "report",
            title=f"{source} denoised: cxr-infer report",
            headline=f"{source}, denoised",
            when=f"{run.ended.day} {run.ended:%B %Y, %H:%M} {run.ended.tzname() or ''}",
            style=asset("report.css"),
            script=script,
        ),
        "script": script,
        "notice": text(RESEARCH_USE),
        "alerts": _alerts(run, summary),
        "tiles": _tiles(run, summary, statistics),
        "chart": _chart(statistics),
        "outcomes": _outcomes(statistics.statuses, total),
        "count": number_of_files(total),
        "headings": _headings(run.with_reference),
        "bounded": _bounded(statistics),
        "methods": methods_section(methods(run.head, summary, statistics)),
        "about": _about(run),
        "side": str(SIDE),
    }


def _alerts(run: RunFacts, summary: Summary) -> str:
    lines = []
    if summary.failed:
        noun = "file" if summary.failed == 1 else "files"
        lines.append(
            f'<p class="alert">{summary.failed} {noun} failed; the table says why. '
            f'<button type="button" data-show-outcome="{FAILED}">Show</button></p>'
        )
    if run.interrupted or summary.pending:
        why = "The run was interrupted" if run.interrupted else "The run ended early"
        lines.append(
            f'<p class="alert">{why}: {summary.pending} images were not begun. Run the same command to continue.</p>'
        )
    return "\n".join(lines)


def _tiles(run: RunFacts, summary: Summary, statistics: RunStatistics) -> str:
    model, settings = run.head["model"], run.head["settings"]
    images = summary.done + summary.failed + summary.skipped + summary.pending
    tiles = [
        tile("Denoised", str(summary.done), f"of {images} images"),
        tile("Failed", str(summary.failed), kind="bad" if summary.failed else ""),
        tile(
            "Skipped",
            str(summary.skipped),
            "finished before, not replaced, or already results" if summary.skipped else "",
        ),
        tile("Mottle removed", _mean("mottle_removed", statistics), _mottle_note(statistics)),
    ]
    tiles += [
        tile(column.heading, _mean(column.key, statistics), _spread(column, statistics))
        for column in on_page(run.with_reference)
        if column.mean is QUALITY
    ]
    tiles += [
        tile(
            "Speed",
            with_unit(fixed(2)(summary.megapixels_per_second), "MP/s"),
            f"{_duration(summary.seconds)} for {summary.megapixels:.1f} MP",
        ),
        tile("Strength", f"{settings['strength']:g}", "0 to 1"),
        tile("Model", text(model["name"]), f"{text(model['precision'])}, SHA-256 {model['sha256'][:SHA256_SHOWN]}"),
    ]
    return "".join(tiles)


def _mean(key: str, statistics: RunStatistics) -> str:
    column = BY_KEY[key]
    return with_unit(column.words(mean(statistics.values[key])), column.unit)


def _mottle_note(statistics: RunStatistics) -> str:
    """Describe the value and the images that it covers."""
    said = [f"gray levels, mean of {len(statistics.values['mottle_removed'])}"]
    said += [f"{_mean('mottle_before', statistics)} before, {_mean('mottle_after', statistics)} after"]
    if statistics.stays:
        said.append(f"{statistics.stays} with noise left included")
    if statistics.unsure:
        said.append(f"{statistics.unsure} with unsure noise excluded")
    return "; ".join(said)


def _spread(column: Column, statistics: RunStatistics) -> str:
    """Describe a mean: number of values and SD."""
    values = statistics.values[column.key]
    return f"mean of {len(values)}; SD {column.words(deviation(values))}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _chart(statistics: RunStatistics) -> str:
    removed = statistics.values["mottle_removed"]
    middle = mean(removed)
    if middle is None:
        return ""
    return f'<div class="chart"><h2>Mottle removed</h2>\n{chart(histogram(removed), middle)}</div>'


def _outcomes(counts: Counter[str], total: int) -> str:
    buttons = [f'<button type="button" data-outcome="" aria-pressed="true">all <b>{total}</b></button>\n']
    buttons += [
        f'<button type="button" data-outcome="{status}" aria-pressed="false">{name} <b>{counts[status]}</b></button>\n'
        for status, name in OUTCOMES.items()
        if counts[status]
    ]
    return "".join(buttons)


def _headings(with_reference: bool) -> str:
    names = (*FIXED_COLUMNS, *(column.titled() for column in on_page(with_reference)))
    return "".join(f'<th scope="col"><button type="button">{name}</button></th>\n' for name in names)


def _bounded(statistics: RunStatistics) -> str:
    lines = [
        "Mottle: estimated standard deviation in gray levels of 0..255.",
        "Correlation: between the noise of neighbouring pixels.",
    ]
    if max(statistics.statuses.values(), default=0) > MOST_ROWS:
        lines.append(
            f"Per outcome, the first {MOST_ROWS} files and all files with pictures are listed; --json lists all files."
        )
    return f'<p class="below">{" ".join(lines)}</p>'


def _about(run: RunFacts) -> str:
    model, settings, versions = run.head["model"], run.head["settings"], run.head["versions"]
    told = ", ".join(f"{name.replace('_', ' ')} {_setting(value)}" for name, value in settings.items())
    facts = [
        ("model", f"{model['name']} ({model['precision']})"),
        ("SHA-256", model["sha256"]),
        ("settings", told),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("results", f"in {Path(run.head['output']).name}"),
    ]
    return "".join(f"<dt>{text(label)}</dt><dd>{text(value)}</dd>\n" for label, value in facts)


def _setting(value: float | bool | None) -> str:
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
