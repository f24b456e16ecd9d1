"""What the command line shows of results: tables on stdout. Drawing only; nothing is computed here."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, ConsoleDimensions

from cxr_infer.imaging.mottle import CORRELATED
from cxr_infer.model.card import RESEARCH_USE
from cxr_infer.report.noise_words import photons
from cxr_infer.report.results import CUT_SHORT, DONE, FileResult, Summary
from cxr_infer.report.table import Column, print_columns
from cxr_infer.report.text import printable

if TYPE_CHECKING:
    from cxr_infer.model.verify import Verified

FULL_TABLE = 24  # files; longer runs show the summary and the worst
WORST = 5  # files
NAMED = 10  # files in one line at the end
PLAIN_WIDTH = 140  # columns of prose where stdout is no terminal
MOTTLE_NOTE = "mottle: estimated standard deviation before and after, gray levels of 0..255"
PHOTONS_NOTE = "photons: at white, to two digits; corr: how neighbouring pixels correlate"
# where a mean is not of all files
SURE_NOTE = "mean mottle: of the {} files where it is sure"
QUALITY_NOTE = "mean PSNR, SSIM and MSE: of the {} files that were measured against a reference"
SPEED_NOTE = "mean ms and MP/s: of the {} files denoised in this run"


def stdout_console() -> Console:
    console = _Console(highlight=False, force_terminal=_is_terminal(sys.stdout))
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def stderr_console() -> Console:
    return _Console(stderr=True, highlight=False, soft_wrap=True, force_terminal=_is_terminal(sys.stderr))


class _Console(Console):
    """One that asks its own stream for its size, whatever stdin and the others are: any may lead elsewhere."""

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
    """NO_COLOR wins over FORCE_COLOR, which would make rich draw as on a terminal; None lets rich decide."""
    return stream.isatty() if os.environ.get("NO_COLOR") else None


def figure(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"  # noqa: RUF001  an en dash marks "no figure"


def small_figure(value: float | None) -> str:
    """Two digits, whatever the power of ten: 3.2e-4."""
    if not value:
        return figure(value, 0)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


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
    """The results that the table shows: all of a short run, the worst of a long one. Never more than a screenful.

    Those of an earlier run are among them.
    """

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
        """The files with the lowest PSNR; without references, those with the most mottle left."""
        return self._lowest_psnr or self._most_mottle


def print_results(results: ShownResults, summary: Summary, title: str, *, rate: bool = True) -> None:
    """The metrics table: every file of a short run, the worst of a long one, and means; totals are below it.

    rate: whether the time of the run says anything, as it does not where it waited for files.
    """
    console = stdout_console()
    if results.listed:
        worst_only = results.listed > FULL_TABLE
        shown = results.worst if worst_only else results.first
        heading = f"{title}, the {len(shown)} worst of {results.listed}" if worst_only else title
        columns = _columns(shown, summary, results.listed)
        print_columns(console, heading, columns, about_all=len(columns[0].cells) - len(shown))
    if summary.done and rate:
        speed = figure(summary.megapixels_per_second, 2)
        console.print(f"in all: {summary.megapixels:.2f} MP in {summary.seconds:.2f} s, {speed} MP/s")
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
class _Figure:
    """A figure of each file, and its mean over all that have it, if that means anything.

    rank: see `Column`. note: a line below the table. counted: the field of `FileResult` by which it is known how many
    have it. some: the note where those are not all.
    """

    heading: str
    of_file: Callable[[FileResult], str]
    mean: Callable[[Summary], str] = lambda run: ""
    rank: int = 0
    note: str = ""
    counted: str = ""
    some: str = ""

    def column(self, files: Sequence[FileResult], summary: Summary, listed: int) -> Column:
        count = summary.count(self.counted)
        note = self.some.format(count) if 0 < count < listed else ""
        notes = tuple(filter(None, (self.note, note)))
        means = [self.mean(summary)] if listed > 1 else []
        return Column(self.heading, [*map(self.of_file, files), *means], self.rank, notes=notes)


def _measured(
    heading: str, name: str, shown: Callable[[float | None], str], rank: int = 0, some: str = QUALITY_NOTE
) -> _Figure:
    """A figure that is a field of `FileResult`."""
    return _Figure(
        heading,
        lambda file: shown(getattr(file, name)),
        lambda run: shown(run.mean(name)),
        rank,
        counted=name,
        some=some,
    )


def _columns(files: Sequence[FileResult], summary: Summary, listed: int) -> list[Column]:
    """The metrics table: a row for each file, and one for the means of all that are listed in this run, where several
    are.
    """
    noise = (
        _Figure("size", size_words, rank=4),
        _Figure("mottle", mottle_words, mean_mottle, note=MOTTLE_NOTE, counted="mottle_before", some=SURE_NOTE),
        _Figure("photons", photons_words, rank=3, note=PHOTONS_NOTE),
    )
    quality = (
        _measured("PSNR dB", "psnr", lambda value: figure(value, 2)),
        _measured("SSIM", "ssim", lambda value: figure(value, 4), rank=1),
        _measured("MSE", "mse", small_figure, rank=2),
    )
    speed = (
        _measured("ms", "milliseconds", lambda value: figure(value, 0), 5, SPEED_NOTE),
        _measured("MP/s", "megapixels_per_second", lambda value: figure(value, 2), 6, SPEED_NOTE),
    )
    means = [f"mean of {listed}"] if listed > 1 else []
    names = Column("file", [*(file.name for file in files), *means], name=True)
    shown = (*noise, *(quality if summary.count("psnr") else ()), *speed)
    return [names, *(one.column(files, summary, listed) for one in shown)]


def size_words(result: FileResult) -> str:
    return figure(None) if result.width is None else f"{result.width}x{result.height} {result.bits} bit"


def mean_mottle(run: Summary) -> str:
    return f"{figure(run.mean('mottle_before'))} → {figure(run.mean('mottle_after'))}"


def mottle_words(result: FileResult) -> str:
    """Before and after, or what is known where these say little."""
    before = figure(result.mottle_before)
    if result.mottle_before is None:
        return before
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


def print_table(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    dropped: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """A plain table of texts on stdout.

    dropped: headings of what is left out where there is no room, in this order. names: of what is shortened.
    """
    columns = [
        Column(
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
    print_table(
        "installed models: largest difference from the expected output, pixels in [0, 1]",
        headings,
        rows,
        dropped=("at most", "sha256", "whole image", "test tensors"),
    )


def print_note(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(printable(text) + "\n")


def print_line(text: str) -> None:
    """One line on stdout, never wrapped."""
    sys.stdout.write(printable(text) + "\n")
