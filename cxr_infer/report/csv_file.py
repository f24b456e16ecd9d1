"""The CSV report: a row per file, then mean, SD and n per folder."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_infer.files import write_bytes
from cxr_infer.report.columns import COLUMNS
from cxr_infer.report.json_file import JsonReport
from cxr_infer.report.results import FileResult, Summary
from cxr_infer.report.text import printable

FIGURES = tuple(column for column in COLUMNS if column.csv)
WORDS = ("row", "folder", "file", "status", "message")
HEADINGS = (*WORDS, *(column.key for column in FIGURES))
FILE, MEAN, SD, N = "file", "mean", "SD", "n"  # kinds of rows
ALL, TOP = "*", "."  # folders: the whole run, and IN itself
FORMULA = ("=", "+", "-", "@")  # first characters of cells that a spreadsheet would evaluate


@dataclass
class Spread:
    """Running mean and sample standard deviation (Welford, Technometrics 4(3), 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean

    def add(self, value: float) -> None:
        self.count += 1
        distance = value - self.mean
        self.mean += distance / self.count
        self.squares += distance * (value - self.mean)

    def figure(self, kind: str) -> float | int | None:
        """Return MEAN, SD or N; None if there are too few values."""
        if kind == N:
            return self.count or None
        if kind == MEAN:
            return self.mean if self.count else None
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else None


class CsvReport(JsonReport):
    """Collects records on disk as `JsonReport` does, and writes them as CSV."""

    def write(self, path: Path, head: dict[str, Any], summary: Summary, *, interrupted: bool) -> None:
        """Write the table atomically. Raises ImageError on failure."""
        write_bytes(path, (csv_line(cells).encode() for cells in rows(self.results())))


def rows(results: Iterable[FileResult]) -> Iterator[list[object]]:
    """Yield the headings, a row per file, and the summary rows of each folder and of the whole run."""
    yield list(HEADINGS)
    folders: dict[str, list[Spread]] = {}
    whole = [Spread() for _ in FIGURES]
    for result in results:
        folder = result.name.rpartition("/")[0] or TOP
        yield [FILE, folder, result.name, result.status, result.message, *(one.value(result) for one in FIGURES)]
        for spreads in (folders.setdefault(folder, [Spread() for _ in FIGURES]), whole):
            for column, spread in zip(FIGURES, spreads, strict=True):
                if isinstance(value := column.averaged(result), float | int):
                    spread.add(value)
    for folder, spreads in (*sorted(folders.items()), (ALL, whole)):
        if any(spread.count for spread in spreads):
            for kind in (MEAN, SD, N):
                yield [kind, folder, "", "", "", *(spread.figure(kind) for spread in spreads)]


def csv_line(cells: Iterable[object]) -> str:
    """Format a row, with its line break."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return written.getvalue()


def _cell(content: object) -> str:
    """Format a cell: numbers with six digits; text on one line, and escaped so that spreadsheets do not evaluate it."""
    if isinstance(content, float):
        return f"{content:.6g}"
    shown = "" if content is None else printable(str(content))
    return f"'{shown}" if shown.startswith(FORMULA) else shown
