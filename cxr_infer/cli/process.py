"""The process itself: how signals stop it, and its stdout and stderr.

Ctrl-C and SIGTERM ask a long command to stop after what it is doing; a second one stops it at once. What is said on
stdout and stderr never decides what becomes of a file.
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
    """Called, it says whether a stop was asked for."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """The status to end with, 0 where no stop was asked for."""
        return 0 if self.signal is None else SIGNAL_STATUS + self.signal


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within it, SIGINT and SIGTERM only set the request; the second one raises KeyboardInterrupt.

    To be used on the main thread, the only one that Python lets handle signals.
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
    """A stream whose reader may go away, or whose disk may be full; the work goes on."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data) or 0  # type: ignore[arg-type]  # bytes-like, which typing cannot say everywhere
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def guard_streams() -> None:
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


def read_stdin(most: int) -> bytes:
    """What is piped in. Raises UsageError where nothing is, ImageError where it is empty or over `most` bytes."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(f"{STDIN} is a terminal; pipe an image in, as in < in.png")
    content = sys.stdin.buffer.read(most + 1)
    if not content:
        raise ImageError(f"{STDIN}: is empty; pipe an image in, as in < in.png")
    if len(content) > most:
        raise ImageError(f"{STDIN}: over {most / 1e6:.0f} MB is too large for one image; see --max-pixels")
    return content


def require_pipe() -> None:
    """Raises UsageError where stdout is a terminal, which is no place for an image."""
    if sys.stdout.isatty():
        raise UsageError(f"{STDOUT} is a terminal; redirect it, as in > out.png, or give OUT a name")


def write_stdout(content: bytes) -> None:
    """Write an image to stdout, where a failure is one: nobody else has it. Raises ImageError."""
    try:
        with os.fdopen(os.dup(1), "wb") as file:
            file.write(content)
    except OSError as error:
        raise ImageError(f"{STDOUT}: cannot be written: {error.strerror or error}") from error
