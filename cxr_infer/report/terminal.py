"""Print results as tables on stdout. Nothing is computed here."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, ConsoleDimensions

from cxr_infer.model.card import RESEARCH_USE
from cxr_infer.report import columns
from cxr_infer.report.columns import NO_FIGURE, fixed
from cxr_infer.report.columns import small_figure as small_figure  # re-exported for other programs
from cxr_infer.report.noise_words import left_in
from cxr_infer.report.results import CUT_SHORT, DONE, FileResult, Summary
from cxr_infer.report.table import TableColumn, print_columns
from cxr_infer.report.text import number_of_files, printable

if TYPE_CHECKING:
    from cxr_infer.model.verify import Verified

FULL_TABLE = 24  # files; longer runs show only the worst and a summary
WORST = 5  # files
NAMED = 10  # most files in one line
PLAIN_WIDTH = 140  # columns, if stdout is not a terminal


def stdout_console() -> Console:
    console = _Console(highlight=False, force_terminal=_is_terminal(sys.stdout))
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def stderr_console() -> Console:
    return _Console(stderr=True, highlight=False, soft_wrap=True, force_terminal=_is_terminal(sys.stderr))


class _Console(Console):
    """A console that gets its size from its own stream, as the other streams may be redirected."""

    @property
    def size(self) -> ConsoleDimensions:
        if self._width is None and self.is_terminal and not self.is_dumb_terminal:
            with contextlib.suppress(OSError, ValueError):
                found = os.get_terminal_size(self.file.fileno())
                if found.columns:
                    return ConsoleDimensions(found.columns, found.lines)
        return super().size

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


def _is_terminal(stream: TextIO) -> bool | None:
    """Let NO_COLOR override FORCE_COLOR, which makes rich assume a terminal. None lets rich decide."""
    return stream.isatty() if os.environ.get("NO_COLOR") else None


class Named:
    """Counts files and keeps the first names, for a line at the end."""

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
    """The results in the table: all of a short run, the worst of a long one; results of earlier runs included."""

    def __init__(self) -> None:
        self.in_the_way = Named()
        self.cut_short = Named()
        self.listed = 0
        self.first: list[FileResult] = []
        self._lowest_psnr: list[FileResult] = []
        self._most_mottle: list[FileResult] = []

    def add(self, result: FileResult) -> None:
        if result.in_the_way:
            self.in_the_way.add(result.name)
        if result.status != DONE and not result.finished:
            return
        if CUT_SHORT in result.message:
            self.cut_short.add(result.name)
        self.listed += 1
        if len(self.first) < FULL_TABLE:
            self.first.append(result)
        self._most_mottle = sorted([*self._most_mottle, result], key=lambda r: -(r.mottle_after or 0.0))[:WORST]
        if result.psnr is not None:
            self._lowest_psnr = sorted([*self._lowest_psnr, result], key=lambda r: r.psnr or 0.0)[:WORST]

    @property
    def worst(self) -> list[FileResult]:
        """The files with the lowest PSNR; without references, those with the most remaining mottle."""
        return self._lowest_psnr or self._most_mottle


def print_results(results: ShownResults, summary: Summary, title: str, *, rate: bool = True) -> None:
    """Print the table: every file of a short run, the worst of a long one, and the means; then the totals.

    rate: whether to print the speed, which is meaningless if the run waited for files.
    """
    console = stdout_console()
    if results.listed:
        worst_only = results.listed > FULL_TABLE
        shown = results.worst if worst_only else results.first
        heading = f"{title}, the {len(shown)} worst of {results.listed}" if worst_only else title
        table = _table(shown, summary, results.listed)
        print_columns(console, heading, table, about_all=len(table[0].cells) - len(shown))
    if summary.done and rate:
        speed = fixed(2)(summary.megapixels_per_second)
        console.print(f"total: {summary.megapixels:.2f} MP in {summary.seconds:.2f} s, {speed} MP/s")
    if results.listed > 1 and (left := left_in(summary.left)):
        console.print(left)
    counts = (
        (summary.done, "denoised"),
        (summary.failed, "failed"),
        (summary.skipped - summary.results_themselves, "skipped (already there; --overwrite replaces them)"),
        (summary.results_themselves, "skipped (already results of cxr-infer)"),
        (summary.pending, "not begun"),
    )
    said = [f"{count} {outcome}" for count, outcome in counts if count] or ["nothing to denoise"]
    console.print(f"{', '.join(said)}. {RESEARCH_USE}")


def _table(files: Sequence[FileResult], summary: Summary, listed: int) -> list[TableColumn]:
    """Return the columns of the table: a row per file and, if there are several, a row of means."""
    several = listed > 1
    names = TableColumn(
        "file", [*(file.name for file in files), *([f"mean of {listed}"] if several else [])], name=True
    )
    sizes = TableColumn("size", [*map(size_words, files), *([""] if several else [])], rank=4)
    shown = (one for one in columns.COLUMNS if one.rank is not None and _applies(one, summary))
    return [names, sizes, *(_column(one, files, summary, listed) for one in shown)]


def _applies(figure: columns.Column, summary: Summary) -> bool:
    return figure.mean is None or not figure.mean.needs_reference or summary.count(figure.key) > 0


def _column(figure: columns.Column, files: Sequence[FileResult], summary: Summary, listed: int) -> TableColumn:
    cells = [figure.on_terminal(file) for file in files]
    if listed > 1:
        cells.append(figure.pair(summary.mean) if figure.mean is not None else "")
    count = summary.count(figure.key)
    some = figure.mean.some.format(number_of_files(count)) if figure.mean is not None and 0 < count < listed else ""
    return TableColumn(figure.terminal_title, cells, figure.rank or 0, notes=tuple(filter(None, (figure.note, some))))


def size_words(result: FileResult) -> str:
    return NO_FIGURE if result.width is None else f"{result.width}x{result.height} {result.bits} bit"


def print_table(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    dropped: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """Print a plain table of texts.

    dropped: headings of columns to drop on narrow terminals, in this order. names: headings of columns to shorten.
    """
    columns = [
        TableColumn(
            heading,
            [row[index] for row in rows],
            rank=len(dropped) - dropped.index(heading) if heading in dropped else 0,
            name=heading in names,
            left=True,
        )
        for index, heading in enumerate(headings)
    ]
    print_columns(stdout_console(), title, columns)


def print_verified(found: Sequence[Verified]) -> None:
    """Print the result of `models --verify`, a row per file."""
    rows = [
        [
            one.installed.name,
            one.installed.precision,
            one.installed.sha256[:16],
            *(NO_FIGURE if value is None else f"{value:.1e}" for value in (one.tensors, one.image, one.tolerance)),
            "NO" if one.problem else "yes",
        ]
        for one in found
    ]
    headings = ("model", "precision", "sha256", "test tensors", "whole image", "at most", "good")
    print_table(
        "installed models: largest difference from the expected output, pixels in [0, 1]",
        headings,
        rows,
        dropped=("at most", "sha256", "whole image", "test tensors"),
    )


def print_note(text: str) -> None:
    """Print one line to stderr."""
    sys.stderr.write(printable(text) + "\n")


def print_line(text: str) -> None:
    """Print one line to stdout, without wrapping."""
    sys.stdout.write(printable(text) + "\n")
