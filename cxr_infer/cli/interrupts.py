"""Ctrl-C and SIGTERM ask a long command to stop after what it is doing; a second one stops it at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNAL_STATUS = 128  # added to a signal's number, it is the exit status: 130 for SIGINT, 143 for SIGTERM


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
