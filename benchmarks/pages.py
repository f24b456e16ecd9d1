"""The pages in docs/benchmarks, whose tables the benchmarks rewrite (`--page`): with the machine and the date."""

from __future__ import annotations

import platform
from datetime import date
from pathlib import Path

from cxr_infer.errors import DataError
from cxr_infer.files import write_bytes

FIGURES, END_OF_FIGURES = "<!-- figures, written by {command} -->", "<!-- end of figures -->"


def replace_figures(page: str, figures: str, command: str) -> str:
    """A page with the text between a command's two marks replaced. Raises DataError where it has none."""
    start, end = FIGURES.format(command=command), END_OF_FIGURES
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise DataError(f"the page has no text between {start!r} and {end!r} to replace; add both lines")
    return f"{before}{start}\n\n{figures.strip()}\n\n{end}{after}"


def read_page(page: Path | None, command: str) -> str:
    """The page as it is, read first, so that hours of measuring do not end at a page without the marks."""
    if page is None:
        return ""
    try:
        text = page.read_text()
    except (OSError, UnicodeError) as error:
        raise DataError(f"{page}: cannot be read: {error}") from error
    replace_figures(text, "", command)
    return text


def write_page(page: Path | None, text: str, tables: str, command: str) -> None:
    """Replace the figures of a page that `read_page` returned as `text`, with the machine and the date above them."""
    if page is not None:
        write_bytes(page, replace_figures(text, f"{measured_here()}\n\n{tables}", command).encode())


def measured_here() -> str:
    """One sentence: when, and on which processor."""
    today = date.today()
    return f"Measured on {today.day} {today:%B %Y} on {machine()}."


def machine() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
