"""Read, compute and write many items so that the three overlap: a thread reads ahead, a thread writes behind."""

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

AHEAD = 2  # items at most between two steps: enough to even out files of different size, and memory stays flat


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Input],
    compute: Callable[[Input], Computed],
    write: Callable[[Computed], Result],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """Yield write(compute(read(item))) of every item, in order.

    `read` and `write` each run in a thread of their own, `compute` in the caller's. `items` is taken from as needed,
    never more than a few ahead. After `stopped` turns true, what was computed is still written and yielded, nothing
    more is begun. An exception in a step ends the iteration; to let the others go on, steps return errors as values.
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
        writer.shutdown(wait=True)  # what is half written must become whole
