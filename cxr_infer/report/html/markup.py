"""Build pieces of the page. All text from files and their names is escaped here."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

from cxr_infer.report.columns import COLUMNS, NO_FIGURE, QUALITY, Column, on_page
from cxr_infer.report.html.encoding import AFTER, BEFORE, CLEAN, ERROR, RESIDUAL, Pictures
from cxr_infer.report.results import DONE, FAILED, IGNORED, PENDING, SKIPPED, FileResult
from cxr_infer.report.text import printable

OUTCOMES = {DONE: "denoised", FAILED: "failed", SKIPPED: "skipped", IGNORED: "ignored", PENDING: "not begun"}
ALTERNATIVES = {  # alt texts of the pictures of a card, in order; the first picture sets the viewer's height
    AFTER: "after denoising",
    BEFORE: "before denoising",
    CLEAN: "clean reference",
    RESIDUAL: "before minus after",
    ERROR: "after minus clean",
}


def text(content: object) -> str:
    """Escape content for HTML text and attributes."""
    return escape(printable(str(content)))


def with_unit(shown: str, unit: str) -> str:
    """Append the unit to a formatted value, unless there is no value."""
    return shown + (f'<span class="unit"> {unit}</span>' if unit and shown != NO_FIGURE else "")


def without_folders(message: str, folders: Iterable[str]) -> str:
    """Make the paths in a message relative to these folders, as the page must not disclose where files are kept."""
    given = set(folders)
    paths = {str(path) for folder in map(Path, given) for path in (folder, folder.absolute(), folder.resolve())}
    for folder in sorted((given | paths) - {"."}, key=len, reverse=True):
        message = re.sub(rf"(?<![^\s'\"(]){re.escape(folder.rstrip(os.sep) + os.sep)}", "", message)
    return message


def tile(label: str, value: str, note: str = "", kind: str = "") -> str:
    """Return a tile of the summary. value, note: markup."""
    note = f'<span class="note">{note}</span>' if note else ""
    return f'<div class="tile {kind}"><dt>{text(label)}</dt><dd>{value}{note}</dd></div>\n'


def row(result: FileResult, message: str, anchor: int | None, with_reference: bool) -> str:
    """Return a row of the table. Cells carry the full value, for sorting."""
    name = text(result.name)
    link = f"<span>{name}</span>" if anchor is None else f'<a href="#image-{anchor}">{name}</a>'
    reason = f'<span class="reason">{text(message)}</span>' if message else ""
    pixels = None if result.width is None or result.height is None else result.width * result.height
    cells = [
        f'<th scope="row">{link}{reason}</th>',
        f'<td><span class="outcome {result.status}">{OUTCOMES[result.status]}</span></td>',
        _cell(pixels, f"{result.width} × {result.height}"),  # noqa: RUF001
        *(_cell(column.value(result), column.shown(result)) for column in on_page(with_reference)),
    ]
    return f'<tr data-outcome="{result.status}">{"".join(cells)}</tr>\n'


def _cell(value: float | None, shown: str) -> str:
    return f"<td>{NO_FIGURE}</td>" if value is None else f'<td data-value="{value:.6g}">{shown}</td>'


def card(
    anchor: str, result: FileResult, pictures: Pictures, message: str, template: str, *, detail: bool = False
) -> str:
    """Fill the template with the viewer of an image, or of its detail at full resolution, which has no measurements."""
    width, height = pictures.size
    stored = f"{result.width} × {result.height} px"  # noqa: RUF001
    if detail:
        size = f"{width} × {height} of {stored}"  # noqa: RUF001
    else:
        longer = max(result.width or 0, result.height or 0)
        share = 100 * max(width, height) / max(longer, 1)
        size = f"{stored}, {result.bits} bit" + (f", shown at {share:.0f} %" if share < 100 else "")
    return template.format(
        anchor=anchor,
        name=text(result.name) + (", detail at full resolution" if detail else ""),
        size=size,
        facts="" if detail else _facts(result),
        message=f'<p class="reason">{text(message)}</p>' if message else "",
        layers="".join(_layer(name, pictures) for name in ALTERNATIVES if name in pictures.jpegs),
    )


def _layer(name: str, pictures: Pictures) -> str:
    """Return a picture of a viewer; differences carry their gain."""
    width, height = pictures.size
    gain = f' data-gain="{pictures.gains[name]}"' if name in pictures.gains else ""
    return (
        f'<div class="layer {name}"{gain}><img src="{_data(pictures.jpegs[name])}" width="{width}" height="{height}" '
        f'alt="{ALTERNATIVES[name]}" decoding="sync" draggable="false"></div>\n'
    )


def _facts(result: FileResult) -> str:
    told = (column for column in COLUMNS if column.card)
    listed = "".join(_fact(one, result) for one in told if not one.optional or one.value(result) is not None)
    return f'<dl class="facts">{listed}</dl>'


def _fact(column: Column, result: FileResult) -> str:
    kind = ' class="quality"' if column.mean is QUALITY else ""
    return f"<div{kind}><dt>{column.heading}</dt><dd>{with_unit(text(column.shown(result)), column.unit)}</dd></div>"


def _data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
