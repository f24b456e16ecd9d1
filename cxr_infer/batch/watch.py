"""Watch a directory, and denoise new files once they are complete, until the run is stopped.

The directory is polled, because not every file system reports changes. A file is complete if two scans find it
unchanged and, if the system can tell, no process has it open for writing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from cxr_infer.batch.batch_run import BatchRun
from cxr_infer.batch.engine import Engine
from cxr_infer.batch.jobs import Plan, job_of
from cxr_infer.batch.pipeline import Show, denoise_jobs, not_begun
from cxr_infer.errors import UsageError
from cxr_infer.report.results import FAILED, IGNORED, PENDING, FileResult
from cxr_infer.scratch import DiskList
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.listing import Listing
from cxr_infer.storage.protocols import Output, Storage
from cxr_infer.storage.shard import Shard

try:
    import fcntl
except ImportError:  # Windows, where files being written usually cannot be opened anyway
    fcntl = None  # type: ignore[assignment]

LOOK_EVERY = 2.0  # s between scans
SHARE = 0.1  # largest fraction of the time spent scanning a large directory
STOP_WITHIN = 0.2  # s
ARRIVING = "still incomplete when the run was stopped"

T = TypeVar("T")
Stamp: TypeAlias = tuple[int, int, int]  # of a file: size in bytes, modification time in ns, inode


@dataclass
class _New(Listing):
    """A listing of new, complete files. is_new: called for every name."""

    is_new: Callable[[str], bool] = field(default=lambda name: True)

    def holds(self, name: str) -> bool:
        return super().holds(name) and self.is_new(name)


class Arrivals:
    """Finds new files in a directory; with a shard, its share. Takes about 250 bytes of memory per file."""

    def __init__(self, source: Directory, shard: Shard | None = None) -> None:
        self._source, self._shard = source, shard
        self._known: dict[str, Stamp] = {}  # already returned
        self._arriving: dict[str, Stamp] = {}

    @property
    def arriving(self) -> list[str]:
        """Names that were incomplete at the last scan."""
        return sorted(self._arriving)

    def forget(self, names: Iterable[str]) -> None:
        """Return these names again, after two further scans."""
        for name in names:
            self._known.pop(name, None)

    def look(self) -> Listing:
        """Scan the directory, and list files that are new or changed, and complete. Raises UsageError if it is gone."""
        known, arriving = self._known, self._arriving
        self._known, self._arriving = {}, {}  # removed files are forgotten

        def is_new(name: str) -> bool:
            stamp = _stamp(self._source.path(name))
            if stamp is None:
                return False
            complete = arriving.get(name) == stamp and not _is_written_to(self._source.path(name))
            if complete or known.get(name) == stamp:
                self._known[name] = stamp
            else:
                self._arriving[name] = stamp
            return complete and known.get(name) != stamp

        listing = _New(self._shard, is_new=is_new)
        self._source.list_into(listing)
        return listing


class Watching(Engine):
    """An engine that runs until it is stopped. source: IN. Raises UsageError unless it is a directory."""

    shows = True

    def __init__(self, source: Storage) -> None:
        if not isinstance(source, Directory):
            raise UsageError(f"{source.shown}: cannot be watched; --watch needs a local directory")
        self._source = source

    def results(
        self, plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], show: Show | None
    ) -> Iterator[FileResult]:
        """Yield results of new files as they arrive. The plan is empty."""
        arrivals = Arrivals(self._source, plan.shard)
        while not stopped():
            began = time.monotonic()
            new = arrivals.look()
            took = time.monotonic() - began
            yield from (FileResult(name, FAILED, f"{name}: {reason}") for name, reason in new.problems)
            yield from (FileResult(name, IGNORED, reason) for name, reason in new.ignored)
            jobs = (job_of(name, plan.source, plan.out) for name in new.names)
            output_lost = yield from _results(new.names, denoise_jobs(jobs, run, plan.source, output, stopped, show))
            if output_lost:
                return
            _wait(max(LOOK_EVERY, took / SHARE), stopped)
        yield from (FileResult(name, PENDING, ARRIVING) for name in arrivals.arriving)


def _results(names: DiskList[str], begun: Generator[FileResult, None, T]) -> Generator[FileResult, None, T]:
    """Yield the results of `begun`, then `pending` ones for the remaining names. Returns the value of `begun`."""
    count = 0
    while True:
        try:
            result = next(begun)
        except StopIteration as end:
            yield from map(not_begun, islice(names, count, None))
            return cast(T, end.value)
        count += 1
        yield result


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not stopped() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, STOP_WITHIN))


def _stamp(path: Path) -> Stamp | None:
    """Return a stamp that changes with a file, of the link itself if it is broken; None if the file is gone."""
    for look in (os.stat, os.lstat):
        with contextlib.suppress(OSError):
            found = look(path)
            if stat.S_ISDIR(found.st_mode):  # its time changes with its contents
                return 0, 0, found.st_ino
            return found.st_size, found.st_mtime_ns, found.st_ino
    return None


def _is_written_to(path: Path) -> bool:
    """Whether a process has a file open for writing; False if the system cannot tell.

    Linux grants a read lease on one's own file only if no process has it open for writing (fcntl(2), F_SETLEASE).
    """
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE") or not path.is_file():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # reported when it is read
        return False
    try:
        # a process that opens it meanwhile breaks the lease; the default signal, SIGIO, would kill this process
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # another user's file, or a file system without leases
        return False
    finally:
        os.close(descriptor)
    return False
