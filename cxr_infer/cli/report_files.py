"""Where `--json`, `--csv` and `--report` may be written: never over an original, a result or somebody else's file."""

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
LOOKED_AT = 1 << 16  # bytes of a report, in which it says what it is
HEAD = '{"model": {"name": '  # how a .json begins, and the last line of a .jsonl
OF_RECORDS = {"name", "status", "message", "output", "mottle_before"}  # keys of its other lines, of any version
CSV_HEAD = ",".join(CSV_WORDS)  # how the headings of a .csv begin
BRAND = '<p class="brand">cxr-infer report</p>'


def check_reports(files: ReportFiles, plan: Plan, *, overwrite: bool) -> None:
    """Raises UsageError where a report may not be where it is to go."""
    for file, option, suffixes in (
        (files.json, "--json", JSON_SUFFIXES),
        (files.csv, "--csv", CSV_SUFFIXES),
        (files.page, "--report", PAGE_SUFFIXES),
    ):
        if file is not None:
            check_report(file, plan, option, suffixes, overwrite=overwrite)


def check_report(path: Path, plan: Plan, option: str, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Refuse a report before anything is computed.

    Its name must have one of the suffixes and be no record file's, its place outside the input, and no link of the
    output may lead there; what is there must be a report of ours, or `overwrite` given; the place of a result it
    cannot have. option: that named it, for messages. Raises UsageError.
    """
    other = f"give {option} another name"
    if path.suffix.lower() not in suffixes:
        form, endings = suffixes[0][1:].upper(), " or ".join(suffixes)
        raise UsageError(f"{path}: the report is {form}; give {option} a name that ends in {endings}")
    if is_record_file(path.name):
        raise UsageError(f"{path}: is a name reserved for records of results; {other}")
    place = path.parent.resolve() / path.name
    if plan.source.place in place.parents:
        raise UsageError(f"{path}: lies inside the input directory; give {option} another place")
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
    """Whether a path into the output leaves the folder that it names."""
    written, out = (Path(os.path.normpath(Path.cwd() / named)) for named in (path, plan.out.shown))
    return out in written.parents and plan.out.place / written.relative_to(out) != place


def _is_report(path: Path) -> bool:
    """Whether an earlier run wrote that file, or it is empty."""
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
    """The first line of a stream: the record of a file, or, of a run without files, the end."""
    try:
        content = parse_object(line)
    except ValueError:
        return line.startswith(HEAD)  # longer than what was looked at
    return content.keys() >= OF_RECORDS or line.startswith(HEAD)
