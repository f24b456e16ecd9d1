"""Write the folder of a result: lab.json and lab.html, and on request the table and the plots."""

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
    """Return the result directory named after a protocol. Raises UsageError if it is a link."""
    folder = Path(f"lab-{protocol}")
    if is_link_at(folder):
        raise UsageError(f"{folder}: is a link; give -o the directory of the result")
    return folder


def require_own_folder(out: Path) -> None:
    """Raise UsageError if `out` is not a directory, has files but no lab result, or has links to folders."""
    other = "give -o another directory"
    if is_link_at(out) and not out.exists():
        raise UsageError(f"{out}: broken link; {other}")
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out}: not a directory; {other}")
    names = {path.name for path in out.iterdir()}
    if names and not names & {UNITS, JSON_FILE}:
        raise UsageError(f"{out}: has files but no result of cxr-infer lab; {other}")
    for folder in (out / UNITS, out / PLOTS):
        if is_link_at(folder):
            raise UsageError(f"{folder}: is a link; remove it or {other}")


def write_result(result: LabResult, out: Path, *, csv: bool = False, png: bool = False) -> list[Path]:
    """Write the files of a result, each completely or not at all, and return their paths.

    Raises ImageError if one cannot be written, UsageError if plots need a missing package.
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
