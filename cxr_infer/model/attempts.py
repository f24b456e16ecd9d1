"""Run C code that can be abandoned: it gets a thread of its own, so that signals and deadlines are still handled.

Python handles signals on the main thread between two of its own instructions. A network that runs for an hour is a
single instruction; waiting for a thread is many.
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

GRACE = 1.0  # seconds to wait for work that was told to end
LOOK_EVERY = 0.2  # seconds; on Windows, a wait can be interrupted only at its end

_left_behind: list[threading.Thread] = []  # abandoned threads that are still running


class _Attempt(Generic[T]):
    """Some work and its outcome."""

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
        """Wait for the work; return whether it has ended."""
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
    """Run some work in a thread of its own; return its result or raise its exception.

    seconds: time limit; after it the work is abandoned with a TimeoutError. An exception raised by a signal in the
    waiting thread abandons it as well. end: asks the work to end early; if it does not, its thread is left running, see
    `exit_despite_work`.
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
    """Give a thread time to end; remember it if it does not, or if the wait is interrupted."""
    _left_behind.append(thread)
    thread.join(GRACE)
    if not thread.is_alive():
        _left_behind.remove(thread)


@contextlib.contextmanager
def exit_despite_work() -> Iterator[None]:
    """Let a command exit with its own status even if abandoned work is still running.

    Python does not wait for such a thread at exit, but a thread that returns from C during the shutdown aborts the
    process.
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
