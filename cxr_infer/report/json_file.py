"""The JSON report of a run: one record a file, kept on disk while the run goes on, so that memory stays flat.

A report whose name ends in .jsonl is a stream: the records as they come, a line each, then one line with the rest.
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

FORMAT = 1  # of the records; it rises when a key changes its meaning or goes
JSON_LINES = ".jsonl"  # a report that is written as the run goes on
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow")  # whose versions can change a pixel


class JsonReport:
    """Collects records on disk; `write` makes the report of them."""

    def __init__(self) -> None:
        self._records = DiskList[dict[str, Any]](what="the report", error=ImageError)

    def __enter__(self) -> JsonReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._records.close()

    def add(self, result: FileResult) -> None:
        """Raises ImageError where the disk is full."""
        self._records.append(result.to_dict())

    def results(self) -> Iterator[FileResult]:
        """All that were added, in order, read back one at a time."""
        return (FileResult(**record) for record in self._records)

    def write(self, path: Path, head: dict[str, Any], summary: Summary, *, interrupted: bool) -> None:
        """The whole report, under its name only once it is complete. Raises ImageError where it cannot be written."""
        ending = {"interrupted": interrupted, "summary": summary.to_dict()}
        opened, closed = json.dumps(head, indent=1)[:-2], json.dumps(ending, indent=1)[2:]
        first, last = f'{opened},\n "files": ['.encode(), f"],\n{closed}\n".encode()
        write_bytes(path, chain((first,), self._lines(), (last,)))

    def _lines(self) -> Iterator[bytes]:
        for index, record in enumerate(self._records):
            yield (b",\n  " if index else b"\n  ") + json.dumps(record).encode()


class JsonLines(JsonReport):
    """The report as a stream: each record is in the file when `add` returns; the last line, which `write` adds, is the
    head, whether the run was interrupted, and the summary.

    A new file, which takes the place of what is there with the first record, when the run is sure to happen.
    Raises UsageError where it cannot be made.
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
        """Raises ImageError where the file cannot grow."""
        self._append(result.to_dict())
        self._count += 1

    def results(self) -> Iterator[FileResult]:
        """All that were added, read back from the report; then none can be added any more."""
        self._stream.seek(0)
        return (FileResult(**json.loads(line)) for line in islice(self._stream, self._count))

    def write(self, path: Path, head: dict[str, Any], summary: Summary, *, interrupted: bool) -> None:
        """The last line. Raises ImageError where it cannot be written."""
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
    """What collects the records of a run for `--json`, of the kind that the name asks for."""
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
    """The head of the report: what made these results. command: line by which the run was started, without secrets."""
    return {
        "model": {
            "name": model.card.name,
            "precision": model.card.precision,
            "file": str(model.path),
            "sha256": model.sha256,
        },
        "format": FORMAT,
        "date": began.isoformat(timespec="seconds"),
        "command": list(command),
        "cpu": cpu_name(),
        "threads": model.threads,
        "settings": asdict(settings) | asdict(reading),
        "versions": {
            "cxr-infer": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        "input": source,
        "output": out,
    }
