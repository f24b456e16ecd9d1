"""Work in C that can be given up: it runs in a thread of its own, so that signals and deadlines are seen meanwhile.

Python handles a signal between two of its own instructions on the main thread. A network that runs for an hour is one
instruction; waiting for a thread is many.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

GRACE = 1.0  # seconds that work is waited for once it was told to end
LOOK_EVERY = 0.2  # seconds: on Windows, a wait is interrupted only at its end

_left_behind: list[threading.Thread] = []  # of those that were given up, the ones that went on


class _Attempt(Generic[T]):
    """Some work, and what became of it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()
        self.thread = threading.Thread(target=self._run, daemon=True, name="attempt")

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:
            self._error = error
        finally:
            self._ended.release()

    def ends_within(self, seconds: float | None) -> bool:
        """Wait. Whether it has ended."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = LOOK_EVERY if deadline is None else min(LOOK_EVERY, deadline - time.monotonic())
            if self._ended.acquire(timeout=max(left, 0)):
                return True
            if left <= 0:
                return False

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]


def attempt(work: Callable[[], T], *, seconds: float | None = None, end: Callable[[], None] = lambda: None) -> T:
    """What some work gives, or the exception that it raises.

    seconds: after which it is given up with a TimeoutError. Any exception that a signal raises in the waiting thread
    gives it up as well. end: asks the work to end early; work that does not is left behind, see `exit_despite_work`.
    """
    one = _Attempt(work)
    one.thread.start()
    try:
        in_time = one.ends_within(seconds)
        if in_time:
            return one.outcome()
        raise TimeoutError
    finally:
        if one.thread.is_alive():
            end()
            _leave(one.thread)


def _leave(thread: threading.Thread) -> None:
    """Give a thread the grace to end; remember it where it does not, or where even that is interrupted."""
    _left_behind.append(thread)
    thread.join(GRACE)
    if not thread.is_alive():
        _left_behind.remove(thread)


@contextlib.contextmanager
def exit_despite_work() -> Iterator[None]:
    """Let a command end with its own status though work was left behind.

    Python's end does not wait for such a thread, but a thread that comes back from C during it aborts the process.
    """
    try:
        yield
    except SystemExit as ending:
        if any(thread.is_alive() for thread in _left_behind):
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(ending.code if isinstance(ending.code, int) else int(ending.code is not None))
        raise
