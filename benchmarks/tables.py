"""Markdown tables, ready for the README."""

from __future__ import annotations

from collections.abc import Sequence

from cxr_infer.errors import DataError


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


FIGURES, END_OF_FIGURES = "<!-- figures, written by {command} -->", "<!-- end of figures -->"


def replace_figures(page: str, figures: str, command: str) -> str:
    """A page with the text between a command's two marks replaced. Raises DataError where it has none."""
    start, end = FIGURES.format(command=command), END_OF_FIGURES
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise DataError(f"the page has no text between {start!r} and {end!r} to replace; add both lines")
    return f"{before}{start}\n\n{figures.strip()}\n\n{end}{after}"
