"""Tables that fit the terminal: no cell is ever broken over lines.

Where a terminal is too narrow, columns go, those of least use first, and what is left of long names is their end, which
tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len, get_character_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxr_infer.report.text import printable

GAP = 2  # columns of a terminal between two of a table
NAME_ROOM = 20  # columns that names keep before another column of the table goes
ELLIPSIS = "…"


@dataclass(frozen=True)
class TableColumn:
    """One column. cells: its texts, a row each.

    rank: those with the highest are left out first, those with 0 never. name: whether its texts may be shortened, at
    their beginning; others are not. left: whether they begin at the left, as names do. notes: lines below the table.
    """

    heading: str
    cells: Sequence[str]
    rank: int = 0
    name: bool = False
    left: bool = False
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))

    @property
    def least_width(self) -> int:
        return min(self.width, max(NAME_ROOM, cell_len(self.heading))) if self.name else self.width


def shortened(text: str, width: int) -> str:
    """A text that takes at most so many columns: its end, after an ellipsis, where it is longer."""
    if cell_len(text) <= width:
        return text
    room, start = max(width, 1) - 1, len(text)
    while start and (taken := get_character_cell_size(text[start - 1])) <= room:
        room, start = room - taken, start - 1
    return ELLIPSIS + text[start:]


def fitted(columns: Sequence[TableColumn], width: int | None) -> list[TableColumn]:
    """The columns that fit into a width, with their names shortened as they must be; all for None."""
    kept = list(columns)
    if width is None:
        return kept
    while _width(column.least_width for column in kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    spare = width - _width(column.least_width for column in kept)
    fitting = []
    for column in kept:
        if not column.name:
            fitting.append(column)
            continue
        room = max(1, min(column.width, column.least_width + spare))
        spare -= room - column.least_width
        fitting.append(replace(column, cells=[shortened(cell, room) for cell in column.cells]))
    return fitting


def _width(widths: Iterable[int]) -> int:
    columns = list(widths)
    return sum(columns) + GAP * max(0, len(columns) - 1)


def print_columns(console: Console, title: str, columns: Sequence[TableColumn], *, about_all: int = 0) -> None:
    """Print a table; where that is no terminal, it is as wide as its content.

    about_all: how many of its last rows are about all others.
    """
    clean = [replace(column, cells=[printable(cell) for cell in column.cells]) for column in columns]
    shown = fitted(clean, console.width if console.is_terminal else None)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for column in shown:
        table.add_column(
            escape(column.heading), justify="left" if column.left or column.name else "right", no_wrap=True
        )
    rows = list(zip(*(column.cells for column in shown), strict=True))
    for number, row in enumerate(rows):
        if number == len(rows) - about_all:
            table.add_section()
        table.add_row(*map(escape, row), style="bold" if number >= len(rows) - about_all else "")
    if not console.is_terminal:
        console.width = max(console.width, _width(column.width for column in shown))
    console.print(escape(printable(title)), style="italic")
    console.print(table)
    for note in dict.fromkeys(note for column in shown for note in column.notes):
        console.print(escape(note), style="dim")
