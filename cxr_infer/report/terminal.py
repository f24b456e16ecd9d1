"""What the command line shows of results: tables on stdout. Drawing only; nothing is computed here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxr_infer.imaging.mottle import CORRELATED
from cxr_infer.model.card import RESEARCH_USE
from cxr_infer.report.noise_words import photons
from cxr_infer.report.results import CUT_SHORT, DONE, FileResult, Summary
from cxr_infer.report.text import printable

if TYPE_CHECKING:
    from cxr_infer.model.verify import Verified

FULL_TABLE = 24  # files; longer runs show the summary and the worst
WORST = 5  # files
WIDE_TABLE = 100  # columns in which figures of noise and of quality fit side by side
NARROW_TABLE = 76  # columns below which figures that others imply are left out, so that none is cut
NAMED = 10  # files in one line at the end
PLAIN_WIDTH = 140  # columns where stdout is no terminal, so that nothing is cut


def stdout_console() -> Console:
    console = Console(highlight=False, force_terminal=_is_terminal(sys.stdout))
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def stderr_console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True, force_terminal=_is_terminal(sys.stderr))


def _is_terminal(stream: TextIO) -> bool | None:
    """NO_COLOR wins over FORCE_COLOR, which would make rich draw as on a terminal; None lets rich decide."""
    return stream.isatty() if os.environ.get("NO_COLOR") else None


def figure(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"  # noqa: RUF001  an en dash marks "no figure"


class Named:
    """Files to be named at the end: how many, and the first."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def __bool__(self) -> bool:
        return self._count > 0

    def __str__(self) -> str:
        more = f" and {self._count - len(self._first)} more" if self._count > len(self._first) else ""
        return ", ".join(self._first) + more

    def add(self, name: str) -> None:
        self._count += 1
        if self._count <= NAMED:
            self._first.append(name)


class ShownResults:
    """The results that the table shows: all of a short run, the worst of a long one. Never more than a screenful."""

    def __init__(self) -> None:
        self.in_the_way = Named()
        self.cut_short = Named()
        self.done = 0
        self.first: list[FileResult] = []
        self._lowest_psnr: list[FileResult] = []
        self._most_mottle: list[FileResult] = []

    def add(self, result: FileResult) -> None:
        if result.in_the_way:
            self.in_the_way.add(result.name)
        if result.status != DONE:
            return
        if CUT_SHORT in result.message:
            self.cut_short.add(result.name)
        self.done += 1
        if len(self.first) < FULL_TABLE:
            self.first.append(result)
        self._most_mottle = sorted([*self._most_mottle, result], key=lambda r: -(r.mottle_after or 0.0))[:WORST]
        if result.psnr is not None:
            self._lowest_psnr = sorted([*self._lowest_psnr, result], key=lambda r: r.psnr or 0.0)[:WORST]

    @property
    def worst(self) -> list[FileResult]:
        """The files with the lowest PSNR; without references, those with the most mottle left."""
        return self._lowest_psnr or self._most_mottle


def print_results(results: ShownResults, summary: Summary, title: str) -> None:
    """The metrics table: every file of a short run, the worst of a long one, then totals and means."""
    console = stdout_console()
    if results.done:
        worst_only = results.done > FULL_TABLE
        shown = results.worst if worst_only else results.first
        columns = _columns(summary.mean("psnr") is not None, console.width)
        table = _results_table(f"{title}, the {len(shown)} worst of {results.done}" if worst_only else title, columns)
        for result in shown:
            table.add_row(*(column.of_file(result) for column in columns))
        table.add_section()
        table.add_row(*(column.of_all(summary) for column in columns), style="bold")
        console.print(table)
    counts = (
        (summary.done, "denoised"),
        (summary.failed, "failed"),
        (summary.skipped - summary.results_themselves, "skipped (there from before; --overwrite replaces)"),
        (summary.results_themselves, "skipped (results of cxr-infer already)"),
        (summary.pending, "not begun"),
    )
    said = [f"{count} {outcome}" for count, outcome in counts if count] or ["nothing to denoise"]
    console.print(f"{', '.join(said)}. {RESEARCH_USE}")


@dataclass(frozen=True)
class _Column:
    """One column of the metrics table: its heading, a file's figure, and that of the whole run."""

    heading: str
    of_file: Callable[[FileResult], str]
    of_all: Callable[[Summary], str]


def _columns(with_reference: bool, width: int) -> list[_Column]:
    """What fits on a terminal that is `width` columns wide; --json has it all."""
    narrow = width < NARROW_TABLE
    photons_at_white = [_Column("photons", photons_words, lambda _: "")]
    quality = [
        _Column("PSNR dB", lambda file: figure(file.psnr, 2), lambda run: figure(run.mean("psnr"), 2)),
        _Column("SSIM", lambda file: figure(file.ssim, 4), lambda run: figure(run.mean("ssim"), 4)),
        *([] if narrow else [_Column("MSE", lambda file: figure(file.mse, 5), lambda run: figure(run.mean("mse"), 5))]),
    ]
    speed = [
        _Column("ms", lambda file: figure(file.milliseconds, 0), lambda run: figure(_milliseconds(run), 0)),
        _Column(
            "MP/s",
            lambda file: figure(file.megapixels_per_second, 2),
            lambda run: figure(run.megapixels_per_second, 2),
        ),
    ]
    return [
        _Column("file", lambda file: escape(printable(file.name)), lambda run: f"mean of {run.done}"),
        _Column(
            "size", lambda file: f"{file.width}x{file.height} {file.bits} bit", lambda run: f"{run.megapixels:.2f} MP"
        ),
        _Column(
            "mottle",
            mottle_words,
            lambda run: f"{figure(run.mean('mottle_before'))} → {figure(run.mean('mottle_after'))}",
        ),
        *(photons_at_white if not with_reference or width >= WIDE_TABLE else []),
        *(quality if with_reference else []),
        *([] if narrow else speed),
    ]


def _milliseconds(run: Summary) -> float | None:
    return 1e3 * run.seconds / run.done if run.done else None


def _results_table(title: str, columns: Sequence[_Column]) -> Table:
    table = Table(title=escape(printable(title)), title_justify="left")
    for column in columns:
        words = column in columns[:2]  # the name and the size, which are wrapped; figures stay whole
        table.add_column(
            column.heading, justify="left" if column is columns[0] else "right", overflow="fold", no_wrap=not words
        )
    table.caption = "mottle: estimated standard deviation before and after, gray levels of 0..255" + (
        "\nphotons: at white, to two digits; corr: how neighbouring pixels correlate"
        if any(column.of_file is photons_words for column in columns)
        else ""
    )
    table.caption_justify = "left"
    return table


def mottle_words(result: FileResult) -> str:
    """Before and after, or what is known where these say little."""
    before = figure(result.mottle_before)
    if result.unsure:
        return f"about {before}"
    return f"{before} stays" if result.mottle_left else f"{before} → {figure(result.mottle_after)}"


def photons_words(result: FileResult) -> str:
    """Photons at white, or why there are none."""
    if result.unsure:
        return "unsure"
    if result.correlation is not None and result.correlation >= CORRELATED:
        return f"corr {result.correlation:.2f}"
    return photons(result.photons_at_white) or figure(None)


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table on stdout; the first column is text, the others too."""
    table = Table(title=escape(printable(title)), title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    stdout_console().print(table)


def print_verified(found: Sequence[Verified]) -> None:
    """What `models --verify` found, a row for each file."""
    rows = [
        [
            one.installed.name,
            one.installed.precision,
            one.installed.sha256[:16],
            *("–" if value is None else f"{value:.1e}" for value in (one.tensors, one.image, one.tolerance)),  # noqa: RUF001
            "NO" if one.problem else "yes",
        ]
        for one in found
    ]
    headings = ("model", "precision", "sha256", "test tensors", "whole image", "at most", "good")
    print_table("installed models: largest difference from the expected output, pixels in [0, 1]", headings, rows)


def print_note(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(printable(text) + "\n")


def print_line(text: str) -> None:
    """One line on stdout, never wrapped."""
    sys.stdout.write(printable(text) + "\n")
