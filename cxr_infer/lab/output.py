"""The folder of a result: lab.json and lab.html, the table and the plots where asked for, and the stored units."""

from __future__ import annotations

from pathlib import Path, PurePath

from cxr_infer.errors import UsageError
from cxr_infer.files import write_below
from cxr_infer.folder import is_link_at
from cxr_infer.lab.page import page
from cxr_infer.lab.plots import plots
from cxr_infer.lab.result import LabResult
from cxr_infer.lab.runner import UNITS
from cxr_infer.lab.table import csv_lines

JSON_FILE, PAGE_FILE, CSV_FILE, PLOTS = "lab.json", "lab.html", "lab.csv", "plots"


def default_folder(protocol: str) -> Path:
    """The directory of a result, called after its protocol. Raises UsageError where it is a link, which is not followed
    unless it is named."""
    folder = Path(f"lab-{protocol}")
    if is_link_at(folder):
        raise UsageError(f"{folder}: is a link; give -o the directory of the result")
    return folder


def require_own_folder(out: Path) -> None:
    """Raises UsageError where `out` is no directory, one with files but none of the lab's, or has links among them."""
    other = "give -o another directory"
    if is_link_at(out) and not out.exists():
        raise UsageError(f"{out}: is a broken link; {other}")
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out}: is a file; {other}")
    names = {path.name for path in out.iterdir()}
    if names and not names & {UNITS, JSON_FILE}:
        raise UsageError(f"{out}: holds files, but no result of cxr-infer lab; {other}")
    for folder in (out / UNITS, out / PLOTS):
        if is_link_at(folder):
            raise UsageError(f"{folder}: is a link, which is not followed; remove it or {other}")


def write_result(result: LabResult, out: Path, *, csv: bool = False, png: bool = False) -> list[Path]:
    """Write the files of a result, each whole or not at all, and return their paths.

    Raises ImageError where one cannot be written, UsageError where plots need a package.
    """
    written = [out / JSON_FILE, out / PAGE_FILE]
    write_below(out, PurePath(JSON_FILE), result.to_json().encode())
    write_below(out, PurePath(PAGE_FILE), page(result).encode())
    if csv:
        write_below(out, PurePath(CSV_FILE), csv_lines(result.findings))
        written.append(out / CSV_FILE)
    if png:
        for name, content in plots(result.findings):
            write_below(out, PurePath(PLOTS, name), content)
        written.append(out / PLOTS)
    return written
