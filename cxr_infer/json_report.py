"""The JSON report of a run: one record a file, kept on disk while the run goes on, so that memory stays flat."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from cxr_infer import __version__
from cxr_infer.denoiser import Model
from cxr_infer.errors import ImageError
from cxr_infer.files import write_bytes
from cxr_infer.results import FileResult, Summary
from cxr_infer.settings import Settings

IN_MEMORY = 1 << 20  # bytes of records; more go to a temporary file
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow")  # whose versions can change a pixel


class JsonReport:
    """Collects records, of a long run in an unnamed temporary file; `write` makes the report of them."""

    def __init__(self) -> None:
        self._records = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed by __exit__

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
        except OSError as error:
            raise ImageError(f"the report cannot be kept: {error.strerror or error}; set TMPDIR elsewhere") from error

    def results(self) -> Iterator[FileResult]:
        """All that were added, in order, read back one at a time."""
        self._records.seek(0)
        return (FileResult(**json.loads(line)) for line in self._records)

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


def describe_run(model: Model, settings: Settings, source: Path, out: Path) -> dict[str, Any]:
    """The head of the report: what made these results."""
    return {
        "model": {
            "name": model.card.name,
            "precision": model.card.precision,
            "file": str(model.path),
            "sha256": model.sha256,
        },
        "settings": asdict(settings),
        "versions": {
            "cxr-infer": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        "input": str(source),
        "output": str(out),
    }
