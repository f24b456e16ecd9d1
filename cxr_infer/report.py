"""What the command line shows: tables on stdout, progress on stderr. Drawing only; nothing is computed here."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cxr_infer.listing import PACKED
from cxr_infer.model_card import RESEARCH_USE
from cxr_infer.printable import printable
from cxr_infer.results import DONE, FAILED, FINISHED, IGNORED, SKIPPED, FileResult, Summary

if TYPE_CHECKING:
    from cxr_infer.verify import Verified

FULL_TABLE = 24  # files; longer runs show the summary and the worst
WORST = 5  # files
PACKED_NAMED = 3  # archives in the line of files that were left alone
PLAIN_WIDTH = 140  # columns where stdout is no terminal, so that nothing is cut
PLAIN_INTERVAL = 5.0  # s between plain progress lines


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


@contextlib.contextmanager
def progress_over(total: int, what: str, quiet: bool) -> Iterator[Callable[[FileResult], None]]:
    """Yields a function to call with each result: a live bar on a terminal, plain lines elsewhere."""
    console = stderr_console()
    if quiet:
        yield _Messages(console, quiet).say
    elif console.is_terminal and not console.is_dumb_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[name]}", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total, name="")
            messages = _Messages(bar.console, quiet)

            def advance(result: FileResult) -> None:
                messages.say(result)
                bar.update(task, advance=1, name=printable(result.name))

            yield advance
            messages.close()
    else:
        messages = _Messages(console, quiet)
        yield _plain_progress(console, total, messages)
        messages.close()


def _plain_progress(console: Console, total: int, messages: _Messages) -> Callable[[FileResult], None]:
    count = 0
    last = 0.0

    def advance(result: FileResult) -> None:
        nonlocal count, last
        count += 1
        messages.say(result)
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL or count == total:
            last = now
            console.print(f"{count}/{total} {printable(result.name)}", markup=False)

    return advance


class _Messages:
    """Says why a file has no result, each note once, for the first file that it is about; what was left alone, last."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._notes: set[str] = set()
        self._ignored = 0
        self._packed: list[str] = []

    def say(self, result: FileResult) -> None:
        if result.status in (FAILED, SKIPPED) and result.message != FINISHED:
            message = result.message if result.name in result.message else f"{result.name}: {result.message}"
            self._print(f"{result.status}: {message}")
        elif result.status == IGNORED:
            self._ignored += 1
            if result.message == PACKED:
                self._packed.append(result.name)
        elif result.status == DONE and result.message not in self._notes | {""} and not self._quiet:
            self._notes.add(result.message)
            self._print(f"note: {result.name}: {result.message} (said once)")

    def close(self) -> None:
        if self._ignored:
            packed = ", ".join(self._packed[:PACKED_NAMED])
            packed += f" and {len(self._packed) - PACKED_NAMED} more" if len(self._packed) > PACKED_NAMED else ""
            hint = f"; packed, so unpack them first: {packed}" if packed else ""
            self._print(f"left alone, being hidden or no X-ray: {self._ignored} (--json names them){hint}")

    def _print(self, text: str) -> None:
        self._console.print(printable(text), markup=False)


class Shown:
    """The results that the table shows: all of a short run, the worst of a long one. Never more than a screenful."""

    def __init__(self) -> None:
        self.done = 0
        self.first: list[FileResult] = []
        self._lowest_psnr: list[FileResult] = []
        self._most_mottle: list[FileResult] = []

    def add(self, result: FileResult) -> None:
        if result.status != DONE:
            return
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


def print_results(results: Shown, summary: Summary, title: str) -> None:
    """The metrics table: every file of a short run, the worst of a long one, then totals and means."""
    console = stdout_console()
    if results.done:
        with_reference = summary.mean("psnr") is not None
        worst_only = results.done > FULL_TABLE
        shown = results.worst if worst_only else results.first
        table = _results_table(
            f"{title}, the {len(shown)} worst of {results.done}" if worst_only else title, with_reference
        )
        for result in shown:
            table.add_row(*_row(result, with_reference))
        table.add_section()
        table.add_row(*_summary_row(summary, with_reference), style="bold")
        console.print(table)
    parts = [
        f"{summary.done} denoised",
        f"{summary.failed} failed",
        f"{summary.skipped} skipped (there from before; --overwrite replaces)",
        f"{summary.pending} not begun",
    ]
    counts = (summary.done, summary.failed, summary.skipped, summary.pending)
    console.print(", ".join(part for part, n in zip(parts, counts, strict=True) if n) + f". {RESEARCH_USE}")


def _results_table(title: str, with_reference: bool) -> Table:
    table = Table(title=escape(printable(title)), title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("size", "mottle before", "after"):
        table.add_column(heading, justify="right")
    if with_reference:
        for heading in ("PSNR dB", "SSIM", "MSE"):
            table.add_column(heading, justify="right")
    for heading in ("ms", "MP/s"):
        table.add_column(heading, justify="right")
    table.caption = "mottle: estimated standard deviation in gray levels of 0..255"
    table.caption_justify = "left"
    return table


def _row(result: FileResult, with_reference: bool) -> list[str]:
    quality = [figure(result.psnr, 2), figure(result.ssim, 4), figure(result.mse, 5)] if with_reference else []
    return [
        escape(printable(result.name)),
        f"{result.width}x{result.height} {result.bits} bit",
        figure(result.mottle_before),
        figure(result.mottle_after),
        *quality,
        figure(result.milliseconds, 0),
        figure(result.megapixels_per_second, 2),
    ]


def _summary_row(summary: Summary, with_reference: bool) -> list[str]:
    quality = [figure(summary.mean(name), digits) for name, digits in (("psnr", 2), ("ssim", 4), ("mse", 5))]
    return [
        f"mean of {summary.done}",
        f"{summary.megapixels:.2f} MP",
        figure(summary.mean("mottle_before")),
        figure(summary.mean("mottle_after")),
        *(quality if with_reference else []),
        figure(1e3 * summary.seconds / summary.done if summary.done else None, 0),
        figure(summary.megapixels_per_second, 2),
    ]


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


def print_line(text: str) -> None:
    """One line on stdout, never wrapped."""
    sys.stdout.write(printable(text) + "\n")
