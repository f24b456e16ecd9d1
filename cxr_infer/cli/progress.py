"""Progress of a run on stderr: a bar or plain lines, and problems as they happen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console

from cxr_infer.cli.bars import live_bar
from cxr_infer.report.results import FAILED, IGNORED, SKIPPED, FileResult
from cxr_infer.report.terminal import stderr_console
from cxr_infer.report.text import number_of_files, printable
from cxr_infer.storage.listing import PACKED

PACKED_NAMED = 3  # archives named in the line about ignored files
PLAIN_INTERVAL = 5.0  # s between plain progress lines


@contextlib.contextmanager
def progress_over(total: int | None, what: str, quiet: bool) -> Iterator[Callable[[FileResult], None]]:
    """Yield a function to call with each result: a live bar on a terminal, plain lines elsewhere.

    total: number of results; None if unknown, in which case each result gets a line.
    """
    console = stderr_console()
    if quiet:
        yield _Messages(console, quiet).say
    elif console.is_terminal and not console.is_dumb_terminal:
        with live_bar(console, counts=True, names=True, transient=True) as bar:
            task = bar.add_task(what, total=total, text="")
            messages = _Messages(bar.console, quiet)

            def advance(result: FileResult) -> None:
                messages.say(result)
                bar.update(task, advance=1, text=result.name)

            yield advance
            messages.close()
    else:
        messages = _Messages(console, quiet)
        yield _plain_progress(console, total, messages)
        messages.close()


def _plain_progress(console: Console, total: int | None, messages: _Messages) -> Callable[[FileResult], None]:
    count = 0
    last = 0.0

    def advance(result: FileResult) -> None:
        nonlocal count, last
        count += 1
        messages.say(result)
        now = time.monotonic()
        if total is None or now - last >= PLAIN_INTERVAL or count == total:
            last = now
            share = f"{count}" if total is None else f"{count}/{total}"
            console.print(f"{share} {printable(result.name)}", markup=False)

    return advance


class _Messages:
    """Prints why files have no result, each note only for the first file it concerns, and a count of ignored files."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._notes: set[str] = set()  # already printed
        self._ignored = 0
        self._packed: list[str] = []

    def say(self, result: FileResult) -> None:
        if result.status in (FAILED, SKIPPED) and not result.finished:
            message = result.message if result.name in result.message else f"{result.name}: {result.message}"
            self._print(f"{result.status}: {message}")
        elif result.status == IGNORED:
            self._ignored += 1
            if result.message == PACKED:
                self._packed.append(result.name)
        elif not self._quiet:
            new = [note for note in result.notes if note not in self._notes]
            self._notes.update(new)
            if new:
                self._print(f"note: {result.name}: {'; '.join(new)} (shown once)")

    def close(self) -> None:
        if self._ignored:
            packed = ", ".join(self._packed[:PACKED_NAMED])
            packed += f" and {len(self._packed) - PACKED_NAMED} more" if len(self._packed) > PACKED_NAMED else ""
            hint = f"; archives to unpack first: {packed}" if packed else ""
            self._print(f"ignored {number_of_files(self._ignored)} (hidden or not X-rays); --json lists them{hint}")

    def _print(self, text: str) -> None:
        self._console.print(printable(text), markup=False)
