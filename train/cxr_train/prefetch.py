"""Draw batches while the training computes: in a thread, or in processes if a GPU would otherwise wait."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import count, islice
from multiprocessing import get_context, parent_process
from threading import Thread

import cv2
import torch

from cxr_infer.errors import UsageError
from cxr_train.samples import Batch, SampleSource


def batches(samples: SampleSource, first: int, workers: int, *, pinned: bool = False) -> Generator[Batch]:
    """Yield the batches from step `first` on, drawn ahead in a thread or in `workers` processes.

    They are the same in both cases. pinned: for a GPU, see `Batch.pin_memory`. Raises UsageError if a process is
    killed, and whatever `samples` raises.
    """
    # created before signals are blocked, because creating its locks would unblock them
    pool = _processes(samples, workers) if workers else ThreadPoolExecutor(1)
    draw = _draw if workers else samples.batch
    coming: deque[Future[Batch]] = deque()

    def draw_ahead(step: int) -> None:
        with _ctrl_c_waits():  # submitting may start a process
            coming.append(pool.submit(draw, step))

    steps = count(first)
    try:
        for step in islice(steps, max(1, 2 * workers)):
            draw_ahead(step)
        while True:
            batch = coming.popleft().result()
            draw_ahead(next(steps))
            yield batch.pin_memory() if pinned else batch
    except BrokenProcessPool:
        raise UsageError("--workers: a process was killed (out of memory, or /dev/shm full?); use fewer") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _processes(samples: SampleSource, workers: int) -> ProcessPoolExecutor:
    # spawned, because forking a process with threads (OpenCV's) can hang; torch shares the memory of tensors
    return ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (samples,))


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Block SIGINT for processes started in this context, where supported: it would end them before `_start_worker`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_drawn_here: SampleSource | None = None  # in a drawing process: keeps decoded images between batches


def _draw(step: int) -> Batch:
    assert _drawn_here is not None
    return _drawn_here.batch(step)


def _start_worker(samples: SampleSource) -> None:
    """Initialise a drawing process: one thread, because there are as many processes as cores; only the training ends
    it.
    """
    global _drawn_here
    _drawn_here = samples
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_the_training, daemon=True).start()


def _end_with_the_training() -> None:
    """Exit when the training is killed; nobody else would end this process."""
    training = parent_process()
    assert training is not None
    training.join()
    os._exit(1)
