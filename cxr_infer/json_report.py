"""The JSON report of a run: one record a file, kept on disk while the run goes on, so that memory stays flat.

A report whose name ends in .jsonl is a stream: the records as they come, a line each, then one line with the rest.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cxr_infer import __version__
from cxr_infer.denoiser import Model
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import write_bytes
from cxr_infer.plan import JSON_LINES
from cxr_infer.results import FileResult, Summary
from cxr_infer.settings import ReadOptions, Settings

IN_MEMORY = 1 << 20  # bytes of records; more go to a temporary file
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow")  # whose versions can change a pixel


class JsonReport:
    """Collects records, of a long run in an unnamed temporary file; `write` makes the report of them."""

    def __init__(self) -> None:
        self._records: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed by __exit__
        self._count = 0

    def __enter__(self) -> JsonReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._records.close()

    def add(self, result: FileResult) -> None:
        """Raises ImageError where the temporary file cannot grow."""
        try:
            self._records.write(json.dumps(result.to_dict()).encode() + b"\n")
            self._count += 1
        except OSError as error:
            raise ImageError(f"the report cannot be kept: {error.strerror or error}; set TMPDIR elsewhere") from error

    def results(self) -> Iterator[FileResult]:
        """All that were added, in order, read back one at a time; then none can be added any more."""
        self._records.seek(0)
        return (FileResult(**json.loads(line)) for line in islice(self._records, self._count))

    def write(self, path: Path, head: dict[str, Any], summary: Summary, *, interrupted: bool) -> None:
        """The whole report, under its name only once it is complete. Raises ImageError where it cannot be written."""
        ending = {"interrupted": interrupted, "summary": summary.to_dict()}
        opened, closed = json.dumps(head, indent=1)[:-2], json.dumps(ending, indent=1)[2:]
        first, last = f'{opened},\n "files": ['.encode(), f"],\n{closed}\n".encode()
        write_bytes(path, chain((first,), self._lines(), (last,)))

    def _lines(self) -> Iterator[bytes]:
        self._records.seek(0)
        for index, line in enumerate(self._records):
            yield (b",\n  " if index else b"\n  ") + line.rstrip(b"\n")


class JsonLines(JsonReport):
    """The report as a stream: each record is in the file when `add` returns; the last line, which `write` adds, is the
    head, whether the run was interrupted, and the summary. Raises UsageError where the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._records, self._count = path.open("w+b"), 0
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror or error}; give another --json") from error

    def add(self, result: FileResult) -> None:
        super().add(result)
        self._records.flush()

    def write(self, path: Path, head: dict[str, Any], summary: Summary, *, interrupted: bool) -> None:
        """The last line. Raises ImageError where it cannot be written."""
        ending = {**head, "interrupted": interrupted, "summary": summary.to_dict()}
        try:
            self._records.write(json.dumps(ending).encode() + b"\n")
            self._records.flush()
            os.fsync(self._records.fileno())
        except OSError as error:
            raise ImageError(f"{path}: cannot be written: {error.strerror or error}") from error


def open_report(path: Path | None) -> JsonReport:
    """What collects the records of a run for `--json`, of the kind that the name asks for."""
    return JsonLines(path) if path is not None and path.suffix.lower() == JSON_LINES else JsonReport()


def describe_run(model: Model, settings: Settings, reading: ReadOptions, source: str, out: str) -> dict[str, Any]:
    """The head of the report: what made these results."""
    return {
        "model": {
            "name": model.card.name,
            "precision": model.card.precision,
            "file": str(model.path),
            "sha256": model.sha256,
        },
        "settings": asdict(settings) | asdict(reading),
        "versions": {
            "cxr-infer": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        "input": source,
        "output": out,
    }
