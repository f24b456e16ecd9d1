from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from cxr_infer.batch.overlap import AHEAD, overlapped


def test_results_come_in_order_whatever_time_the_stages_take() -> None:
    def slow_if_even(value: int) -> int:
        time.sleep(0.003 * (value % 2 == 0))
        return value

    steps = (slow_if_even, lambda value: value * 10, slow_if_even)
    assert list(overlapped(range(50), *steps)) == [10 * value for value in range(50)]


def test_the_stages_overlap() -> None:
    meeting = threading.Barrier(3, timeout=240)  # passed only if all three steps run at the same time

    def meet(value: int) -> int:
        if value == 2:  # being read
            meeting.wait()
        return value

    def meet_computing(value: int) -> int:
        if value == 1:
            meeting.wait()
        return value

    def meet_writing(value: int) -> int:
        if value == 0:
            meeting.wait()
        return value

    assert list(overlapped(range(6), meet, meet_computing, meet_writing)) == list(range(6))


def test_items_are_taken_only_a_few_ahead() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for value in range(1000):
            taken += 1
            yield value

    for done, _ in enumerate(overlapped(source(), int, int, int)):
        assert taken <= done + 1 + 2 * (AHEAD + 1)


def test_a_stop_writes_computed_items_and_begins_no_others() -> None:
    computed: list[int] = []
    stop = threading.Event()

    def compute(value: int) -> int:
        computed.append(value)
        if value == 7:
            stop.set()
        return value

    assert list(overlapped(range(100), int, compute, int, stopped=stop.is_set)) == list(range(8)) == computed


@pytest.mark.parametrize("step", range(3))
def test_an_exception_ends_the_iteration_and_leaves_no_thread(step: int) -> None:
    def fail(value: int) -> int:
        if value == 3:
            raise ZeroDivisionError
        return value

    steps = [int, int, int]
    steps[step] = fail
    before = set(threading.enumerate())  # other threads may end meanwhile
    with pytest.raises(ZeroDivisionError):
        list(overlapped(range(100), *steps))
    deadline = time.monotonic() + 10
    while not before.issuperset(threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert before.issuperset(threading.enumerate())


def test_a_write_in_progress_is_completed_when_the_caller_leaves() -> None:
    finished: list[int] = []

    def write(value: int) -> int:
        time.sleep(0.05)
        finished.append(value)
        return value

    results = overlapped(range(10), int, int, write)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    seen = len(finished)
    time.sleep(0.2)
    assert len(finished) == seen, "no work continues after the caller left"
