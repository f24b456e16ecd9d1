"""Overlap reading, computing and writing of many items: one thread reads ahead, one writes behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Input = TypeVar("Input")
Computed = TypeVar("Computed")
Result = TypeVar("Result")

AHEAD = 2  # most items between two steps: evens out file sizes and keeps memory constant


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Input],
    compute: Callable[[Input], Computed],
    write: Callable[[Computed], Result],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """Yield write(compute(read(item))) of every item, in order.

    `read` and `write` each run in their own thread, `compute` in the caller's. `items` is consumed lazily, a few items
    ahead. Once `stopped` returns true, computed items are still written and yielded, but no more are begun. An
    exception in a step ends the iteration; to continue, return errors as values.
    """
    source = iter(items)
    reading: deque[Future[Input]] = deque()
    writing: deque[Future[Result]] = deque()
    reader = ThreadPoolExecutor(1, thread_name_prefix="read")
    writer = ThreadPoolExecutor(1, thread_name_prefix="write")
    try:
        while not stopped():
            reading.extend(reader.submit(read, item) for item in islice(source, AHEAD - len(reading)))
            if not reading:
                break
            output = compute(reading.popleft().result())
            writing.append(writer.submit(write, output))
            while writing and (len(writing) > AHEAD or writing[0].done()):
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()
    finally:
        reader.shutdown(wait=False, cancel_futures=True)
        writer.shutdown(wait=True)  # finish files that are being written
