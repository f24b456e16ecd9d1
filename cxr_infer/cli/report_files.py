"""Check the paths of `--json`, `--csv` and `--report`: never replace an original, a result or a foreign file."""

from __future__ import annotations

import os
from pathlib import Path

from cxr_infer.batch.jobs import Plan, in_place_of
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import open_plain
from cxr_infer.folder import is_link
from cxr_infer.formats.registry import result_name
from cxr_infer.report.csv_file import WORDS as CSV_WORDS
from cxr_infer.report.json_file import JSON_LINES
from cxr_infer.report.reports import ReportFiles
from cxr_infer.storage.claims import folded
from cxr_infer.storage.record_files import is_record_file
from cxr_infer.untrusted_json import parse_object

JSON_SUFFIXES, CSV_SUFFIXES, PAGE_SUFFIXES = (".json", JSON_LINES), (".csv",), (".html",)
LOOKED_AT = 1 << 16  # bytes read to recognise a report
HEAD = '{"model": {"name": '  # start of a .json, and of the last line of a .jsonl
OF_RECORDS = {"name", "status", "message", "output", "mottle_before"}  # keys of its other lines, in all versions
CSV_HEAD = ",".join(CSV_WORDS)  # start of the header row of a .csv
BRAND = '<p class="brand">cxr-infer report</p>'


def check_reports(files: ReportFiles, plan: Plan, *, overwrite: bool) -> None:
    """Raise UsageError if a report must not be written to its path."""
    for file, option, suffixes in (
        (files.json, "--json", JSON_SUFFIXES),
        (files.csv, "--csv", CSV_SUFFIXES),
        (files.page, "--report", PAGE_SUFFIXES),
    ):
        if file is not None:
            check_report(file, plan, option, suffixes, overwrite=overwrite)


def check_report(path: Path, plan: Plan, option: str, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Raise UsageError if a report must not be written to a path.

    It must have one of the suffixes, be outside the input and not lead through a link in the output. It must not be a
    record file or the path of a result. An existing file must be an earlier report, unless `overwrite` is set. option:
    for messages.
    """
    other = f"give {option} another name"
    if path.suffix.lower() not in suffixes:
        form, endings = suffixes[0][1:].upper(), " or ".join(suffixes)
        raise UsageError(f"{path}: the report is {form}; give {option} a name that ends in {endings}")
    if is_record_file(path.name):
        raise UsageError(f"{path}: this name is reserved for records of results; {other}")
    place = path.parent.resolve() / path.name
    if plan.source.place in place.parents:
        raise UsageError(f"{path}: is inside the input directory; give {option} a path outside it")
    if _linked(path, place, plan):
        raise UsageError(f"{path}: a link in the output leads there; remove it, or {other}")
    if plan.out.place in place.parents:
        within = place.relative_to(plan.out.place).as_posix()
        if any(folded(result_name(name)) == folded(within) for name in plan.names):
            raise UsageError(f"{path}: is the name of a result; {other}")
    found = in_place_of(path, other)
    if found is not None and not overwrite and (is_link(found) or not _is_report(path)):
        raise UsageError(f"{path}: exists and is not a report of cxr-infer; use --overwrite, or {other}")


def _linked(path: Path, place: Path, plan: Plan) -> bool:
    """Whether a path into the output leads elsewhere through a link."""
    written, out = (Path(os.path.normpath(Path.cwd() / named)) for named in (path, plan.out.shown))
    return out in written.parents and plan.out.place / written.relative_to(out) != place


def _is_report(path: Path) -> bool:
    """Whether a file is empty or a report of an earlier run."""
    try:
        with open_plain(path) as file:
            start = file.read(LOOKED_AT)
    except (OSError, ImageError):
        return False
    if not start:
        return True
    kind = path.suffix.lower()
    text = start.decode("utf-8", "replace")
    if kind == JSON_LINES:
        return _is_record(text.split("\n", 1)[0])
    if kind in CSV_SUFFIXES:
        return text.startswith(CSV_HEAD)
    return BRAND in text if kind in PAGE_SUFFIXES else " ".join(text.split()).replace("{ ", "{").startswith(HEAD)


def _is_record(line: str) -> bool:
    """Whether a line is the first of a .jsonl: a record, or the final line of a run without files."""
    try:
        content = parse_object(line)
    except ValueError:
        return line.startswith(HEAD)  # a line longer than LOOKED_AT
    return content.keys() >= OF_RECORDS or line.startswith(HEAD)
