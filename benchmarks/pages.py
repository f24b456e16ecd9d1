"""Rewrite the tables of the pages in docs/benchmarks (`--page`), with machine and date."""

from __future__ import annotations

import platform
from datetime import date
from pathlib import Path

from cxr_infer.errors import DataError
from cxr_infer.files import write_bytes

FIGURES, END_OF_FIGURES = "<!-- figures, written by {command} -->", "<!-- end of figures -->"


def replace_figures(page: str, figures: str, command: str) -> str:
    """Replace the text between a command's two marks. Raises DataError if they are missing."""
    start, end = FIGURES.format(command=command), END_OF_FIGURES
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise DataError(f"the page has no lines {start!r} and {end!r}; add both")
    return f"{before}{start}\n\n{figures.strip()}\n\n{end}{after}"


def read_page(page: Path | None, command: str) -> str:
    """Read the page before measuring, so that hours of work do not fail on a page without the marks."""
    if page is None:
        return ""
    try:
        text = page.read_text()
    except (OSError, UnicodeError) as error:
        raise DataError(f"{page}: cannot be read: {error}; check the path") from error
    replace_figures(text, "", command)
    return text


def write_page(page: Path | None, text: str, tables: str, command: str) -> None:
    """Replace the figures of a page read by `read_page` as `text`, with machine and date above them."""
    if page is not None:
        write_bytes(page, replace_figures(text, f"{measured_here()}\n\n{tables}", command).encode())


def measured_here() -> str:
    """Return a sentence with date and processor."""
    today = date.today()
    return f"Measured on {today.day} {today:%B %Y} on {machine()}."


def machine() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
