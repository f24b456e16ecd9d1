"""The JSON report of a run: one record per file, collected on disk, so that memory stays constant.

A .jsonl report is written during the run: one line per record, then a final line with the rest.
"""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import cannot_write, write_bytes
from cxr_infer.folder import Folder
from cxr_infer.model.denoiser import Model
from cxr_infer.model.hardware import cpu_name
from cxr_infer.report.results import FileResult, Summary
from cxr_infer.scratch import DiskList
from cxr_infer.settings import ReadOptions, Settings
from cxr_infer.version import __version__

REPORT_FORMAT = 1  # version of the report; increased when a key changes its meaning or is removed
JSON_LINES = ".jsonl"  # suffix of reports that are written during the run
STATED_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow")  # their versions can affect pixels


class JsonReport:
    """Collects records on disk, and writes them as a JSON report."""

    def __init__(self) -> None:
        self._records = DiskList[dict[str, Any]](what="the report", error=ImageError)

    def __enter__(self) -> JsonReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._records.close()

    def add(self, result: FileResult) -> None:
        """Add a record. Raises ImageError if it cannot be stored, for example on a full disk."""
        self._records.append(result.to_dict())

    def results(self) -> Iterator[FileResult]:
        """Yield all records in order, read back one at a time."""
        return (FileResult(**record) for record in self._records)

    def write(self, path: Path, head: dict[str, Any], summary: Summary, *, interrupted: bool) -> None:
        """Write the report atomically. Raises ImageError on failure."""
        ending = {"interrupted": interrupted, "summary": summary.to_dict()}
        opened, closed = json.dumps(head, indent=1)[:-2], json.dumps(ending, indent=1)[2:]
        first, last = f'{opened},\n "files": ['.encode(), f"],\n{closed}\n".encode()
        write_bytes(path, chain((first,), self._lines(), (last,)))

    def _lines(self) -> Iterator[bytes]:
        for index, record in enumerate(self._records):
            yield (b",\n  " if index else b"\n  ") + json.dumps(record).encode()


class JsonLines(JsonReport):
    """A report written during the run: `add` writes a record, and `write` the final line with head and summary.

    An existing file is replaced at the first record, when the run has certainly begun. Raises UsageError if the file
    cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._count, self._in_place = path, 0, False
        with contextlib.ExitStack() as opened:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                folder = opened.enter_context(Folder.opened(path.parent))
                self._file = opened.enter_context(folder.new_file(path.name))
                self._file.begin()
            except OSError as error:
                reason = error.strerror or error
                raise UsageError(f"{path}: cannot be written: {reason}; give another --json") from error
            self._stream = self._file.stream
            self._opened = opened.pop_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def add(self, result: FileResult) -> None:
        """Write a record. Raises ImageError on failure."""
        self._append(result.to_dict())
        self._count += 1

    def results(self) -> Iterator[FileResult]:
        """Yield all records, read back from the file. No record can be added afterwards."""
        self._stream.seek(0)
        return (FileResult(**json.loads(line)) for line in islice(self._stream, self._count))

    def write(self, path: Path, head: dict[str, Any], summary: Summary, *, interrupted: bool) -> None:
        """Write the final line. Raises ImageError on failure."""
        self._append({**head, "interrupted": interrupted, "summary": summary.to_dict()})
        try:
            self._file.sync()
        except OSError as error:
            raise cannot_write(path, error) from error

    def _append(self, line: dict[str, Any]) -> None:
        try:
            if not self._in_place:
                self._file.put_in_place()
                self._stream, self._in_place = self._file.stream, True
            self._stream.write(json.dumps(line).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            raise cannot_write(self._path, error) from error


def open_report(path: Path | None) -> JsonReport:
    """Return the collector for a `--json` file, by its suffix."""
    return JsonLines(path) if path is not None and path.suffix.lower() == JSON_LINES else JsonReport()


def describe_run(
    model: Model,
    settings: Settings,
    reading: ReadOptions,
    source: str,
    out: str,
    command: Sequence[str],
    began: datetime,
) -> dict[str, Any]:
    """Return the head of the report: model, settings, machine and versions.

    command: words of the command line, without secrets. began: start of the run.
    """
    return {
        "model": {
            "name": model.card.name,
            "precision": model.card.precision,
            "file": str(model.path),
            "sha256": model.sha256,
        },
        "format": REPORT_FORMAT,
        "date": began.isoformat(timespec="seconds"),
        "command": list(command),
        "cpu": cpu_name(),
        "threads": model.threads,
        "settings": asdict(settings) | asdict(reading),
        "versions": {
            "cxr-infer": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in STATED_PACKAGES},
        },
        "input": source,
        "output": out,
    }
