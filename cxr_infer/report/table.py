"""Tables that fit the terminal without wrapping cells.

On a narrow terminal, the least useful columns are dropped, and long names keep their end, which distinguishes them.
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

GAP = 2  # characters between columns
NAME_ROOM = 20  # characters that names keep before another column is dropped
ELLIPSIS = "…"


@dataclass(frozen=True)
class TableColumn:
    """A column. cells: one text per row.

    rank: columns with the highest rank are dropped first, rank 0 never. name: whether cells may be shortened at their
    start. left: align left; names always are. notes: lines below the table.
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
    """Shorten a text to a width in terminal columns; an ellipsis replaces its start."""
    if cell_len(text) <= width:
        return text
    room, start = max(width, 1) - 1, len(text)
    while start and (taken := get_character_cell_size(text[start - 1])) <= room:
        room, start = room - taken, start - 1
    return ELLIPSIS + text[start:]


def fitted(columns: Sequence[TableColumn], width: int | None) -> list[TableColumn]:
    """Return the columns that fit into a width, with names shortened as needed; all for None."""
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
    """Print a table, as wide as its content if the console is not a terminal.

    about_all: number of summary rows at the end.
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
