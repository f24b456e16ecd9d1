"""Signals and standard streams of the process.

Ctrl-C and SIGTERM make a long command stop after the current step; a second one stops it at once. Failures of stdout
and stderr never affect results.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

from cxr_infer.cli.exit_status import SIGNAL_STATUS
from cxr_infer.errors import ImageError, UsageError

STDIN, STDOUT = "standard input", "standard output"  # for messages


class StopRequest:
    """A callable that tells whether a stop was requested."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """The exit status, 0 if no stop was requested."""
        return 0 if self.signal is None else SIGNAL_STATUS + self.signal


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Make SIGINT and SIGTERM only set the request within this context; a second one raises KeyboardInterrupt.

    Use it on the main thread, the only one on which Python handles signals.
    """
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request():
            raise KeyboardInterrupt
        request.signal = number

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Unfailing(io.FileIO):
    """A stream that ignores write errors: its reader may be gone or its disk full."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data) or 0  # type: ignore[arg-type]  # bytes-like, which typing cannot say everywhere
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def guard_streams() -> None:
    """Make stdout and stderr accept any text and never fail, and reserve them for this program.

    C decoders print messages about damaged files to descriptor 2, with text that a file can choose. That descriptor is
    redirected to the null device, while `sys.stderr` keeps its destination. Tracebacks of crashes are still printed.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= 2:  # started without that stream: the next file opened would take its place
        nowhere = os.open(os.devnull, os.O_RDWR)
    sys.stdout = _stream(1, sys.stdout, line_buffering=False)
    sys.stderr = _stream(os.dup(2), sys.stderr, line_buffering=True)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    faulthandler.enable(sys.stderr)


def _stream(descriptor: int, former: TextIO | None, *, line_buffering: bool) -> TextIO:
    """Open a text stream on a descriptor. Invalid text, as in some file names, is escaped."""
    raw = _Unfailing(descriptor, "w", closefd=False)
    encoding = "utf-8" if former is None else former.encoding
    line_buffering = line_buffering or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=line_buffering)


def read_stdin(most: int) -> bytes:
    """Read standard input. Raises UsageError if it is a terminal, ImageError if it is empty or over `most` bytes."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(f"{STDIN} is a terminal; pipe an image in, as in < in.png")
    content = sys.stdin.buffer.read(most + 1)
    if not content:
        raise ImageError(f"{STDIN}: is empty; pipe an image in, as in < in.png")
    if len(content) > most:
        raise ImageError(f"{STDIN}: over {most / 1e6:.0f} MB is too large for one image; see --max-pixels")
    return content


def require_pipe() -> None:
    """Raise UsageError if standard output is a terminal."""
    if sys.stdout.isatty():
        raise UsageError(f"{STDOUT} is a terminal; redirect it, as in > out.png, or give OUT a name")


def write_stdout(content: bytes) -> None:
    """Write an image to standard output. Raises ImageError on failure, unlike other output."""
    try:
        with os.fdopen(os.dup(1), "wb") as file:
            file.write(content)
    except OSError as error:
        raise ImageError(f"{STDOUT}: cannot be written: {error.strerror or error}") from error
