"""Batches drawn while the training computes: in a thread, or in processes where a GPU would wait for one."""

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
    """The batches of step `first` and all that follow, drawn ahead: in a thread, or in so many processes.

    They are the same in either case. pinned: for a GPU, see `Batch.pin_memory`. Raises UsageError where one of the
    processes is ended by something else, and whatever `samples` raises.
    """
    # made before a signal is held back, which making its locks would end
    pool = _processes(samples, workers) if workers else ThreadPoolExecutor(1)
    draw = _draw if workers else samples.batch
    coming: deque[Future[Batch]] = deque()

    def draw_ahead(step: int) -> None:
        with _ctrl_c_waits():  # any of these may start a process
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
    # spawned: a fork of a process with threads, OpenCV's among them, can hang; torch shares the memory of tensors
    return ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (samples,))


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """For processes started meanwhile it waits on, where the system can: until `_start_worker` it would end them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_drawn_here: SampleSource | None = None  # in a process that draws: its images stay decoded from one batch to the next


def _draw(step: int) -> Batch:
    assert _drawn_here is not None
    return _drawn_here.batch(step)


def _start_worker(samples: SampleSource) -> None:
    """A process among as many as there are cores computes on one of them, and is ended by the training alone."""
    global _drawn_here
    _drawn_here = samples
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_the_training, daemon=True).start()


def _end_with_the_training() -> None:
    """Where the training is killed nobody asks for batches, nor says that there is no need to wait."""
    training = parent_process()
    assert training is not None
    training.join()
    os._exit(1)
