"""Progress bars that fit the terminal: counts and times are never cut; the bar and the text shrink."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from cxr_infer.report.table import ELLIPSIS, shortened
from cxr_infer.report.text import printable


def waiting(console: Console, what: str) -> contextlib.AbstractContextManager[object]:
    """Return a context with a spinner on a terminal, for work of unknown duration."""
    if not console.is_terminal or console.is_dumb_terminal:
        return contextlib.nullcontext()
    return console.status(escape(printable(what)))


@dataclass(frozen=True)
class _Fitting:
    """A line of text that is shortened to the available width. end: keep its end, otherwise its beginning."""

    text: str
    end: bool

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(1, cell_len(self.text)), cell_len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        if self.end or cell_len(self.text) <= room:
            yield shortened(self.text, room)
        else:
            yield set_cell_size(self.text, room - 1) + ELLIPSIS


class _FittingColumn(ProgressColumn):
    """Column with the field `text` of a task."""

    def __init__(self, end: bool) -> None:
        super().__init__()
        self._end = end

    def render(self, task: Task) -> _Fitting:
        return _Fitting(printable(task.fields.get("text", "")), self._end)


def live_bar(console: Console, *, counts: bool, names: bool = False, transient: bool = False) -> Progress:
    """Return a live progress display for tasks with a field `text`, which is shown after the times.

    counts: show counts instead of percentages. names: whether texts are file names, whose end is kept. transient:
    remove the display at the end.
    """

    def whole() -> Column:
        return Column(no_wrap=True)

    return Progress(
        TextColumn("{task.description}", table_column=whole()),
        BarColumn(),
        MofNCompleteColumn(table_column=whole()) if counts else TaskProgressColumn(table_column=whole()),
        TimeElapsedColumn(table_column=whole()),
        TextColumn("left", table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
        _FittingColumn(names),
        console=console,
        transient=transient,
    )
