"""The process's own stdout and stderr: what is said there never decides what becomes of a file."""

from __future__ import annotations

import faulthandler
import io
import os
import sys
from typing import TextIO


class _Unfailing(io.FileIO):
    """A stream whose reader may go away, or whose disk may be full; the work goes on."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data) or 0  # type: ignore[arg-type]  # bytes-like, which typing cannot say everywhere
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def keep_streams_ours() -> None:
    """Make stdout and stderr streams that take any text and never fail, and that only this program writes to.

    Decoders written in C say what they think of damaged files on file descriptor 2, in words that a file can choose.
    From here on they say it to nobody, while `sys.stderr` goes on to where it went. What a crash leaves is still told.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= 2:  # started without that stream: the first file opened would be it, and get what is said there
        nowhere = os.open(os.devnull, os.O_RDWR)
    sys.stdout = _stream(1, sys.stdout, line_buffering=False)
    sys.stderr = _stream(os.dup(2), sys.stderr, line_buffering=True)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    faulthandler.enable(sys.stderr)


def _stream(descriptor: int, former: TextIO | None, *, line_buffering: bool) -> TextIO:
    """Text onto a descriptor; file names need not be valid text, and a table must not fail on one."""
    raw = _Unfailing(descriptor, "w", closefd=False)
    encoding = "utf-8" if former is None else former.encoding
    line_buffering = line_buffering or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=line_buffering)
