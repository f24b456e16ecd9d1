"""Watch a folder as input: a file is moved, or remembered, only after the spool has it on disk.

The audit contains only UIDs, because file names may be those of patients; `cxr-infer node status` names the files that
were not taken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

from cxr_infer.batch.watch import LOOK_EVERY, SHARE, Arrivals
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.faults import fault_line
from cxr_infer.files import read_content
from cxr_infer.node.config import WatchedFolder
from cxr_infer.node.dicom_file import NotTakenError, file_head, taken_apart
from cxr_infer.node.events import Events
from cxr_infer.node.intake import Intake
from cxr_infer.node.spool import Spool
from cxr_infer.storage.directory import Directory

WAY = "folder"  # in the audit
FULL_PAUSE = 10.0  # s before retrying after a full spool or a lack of memory

Stamp = tuple[int, int, int]  # bytes, ns of the last change, inode
NEVER: Stamp = (-1, -1, -1)  # matches no file, so it will be retried


class FolderWatch:
    """Takes files that arrive in a folder until stopped; the current file is finished."""

    def __init__(self, folder: WatchedFolder, intake: Intake, spool: Spool, events: Events) -> None:
        self._root, self._move_to = Path(folder.path), Path(folder.move_to) if folder.move_to else None
        self._intake, self._spool, self._events = intake, spool, events
        self._most = min(intake.budget.each, intake.budget.together)
        self._trouble = ""  # the last one; reported once
        self._unreadable: set[str] = set()  # at the last look; may become readable without a change
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self, seconds: float) -> None:
        if self._thread.ident is not None:  # started
            self._thread.join(seconds)

    def _run(self) -> None:
        arrivals = Arrivals(Directory(self._root))
        while not self._stopping.is_set():
            began = time.monotonic()
            trouble = ""
            self._unreadable.clear()
            try:
                new = arrivals.look()
                took = time.monotonic() - began
                for name in new.names:
                    self._take(name)
                for name, reason in new.problems:
                    self._problem(name, reason)
                if new.names or new.problems:
                    forget_gone(self._spool, self._root)
                arrivals.forget(self._unreadable)
            except UsageError:
                trouble, took = "watched folder not found", 0.0
            except Exception as error:  # such as a failing disk; the files are still there
                trouble, took = fault_line(error), 0.0
                arrivals = Arrivals(Directory(self._root))  # so that all files count as new
            if trouble and trouble != self._trouble:
                self._events.tell("put off", reason=trouble, way=WAY)
            self._trouble = trouble
            self._stopping.wait(max(LOOK_EVERY, took / SHARE))

    def _take(self, name: str) -> None:
        """Take a complete file; wait if there is no room."""
        path = self._root / name
        stamp = _stamp(path)
        if stamp is None or self._stopping.is_set() or remembered(self._spool, name) == stamp:
            return
        try:
            uid = self._stored(path)
        except (ImageError, NotTakenError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            if isinstance(error.__cause__, OSError):  # permissions or the network, which do not change the stamp
                self._unreadable.add(name)
                stamp = NEVER
            self._not_taken(name, stamp, reason)
            return
        if not uid or _stamp(path) != stamp:
            return  # stopped; or changed meanwhile, and will be reported as new again
        if self._move_to is None:
            remember(self._spool, name, stamp, "")
            return
        try:
            move(path, self._move_to / name)
        except OSError as error:
            reason = f"taken, but cannot be moved: {error.strerror or type(error).__name__}"
            self._events.tell("put off", uid=uid, reason=reason, way=WAY)
            remember(self._spool, name, stamp, reason)

    def _problem(self, name: str, reason: str) -> None:
        """Record an entry that is not a file or cannot be read; links are never followed."""
        path = self._root / name
        if path.is_symlink() or not path.is_dir():
            self._not_taken(name, NEVER, reason)
        if path.is_file() and not path.is_symlink():
            self._unreadable.add(name)

    def _not_taken(self, name: str, stamp: Stamp, reason: str) -> None:
        """List a file for the operator, and record the event once."""
        if remembered(self._spool, name) == stamp == NEVER:
            return
        self._events.tell("refused", reason=f"a file: {reason}; `cxr-infer node status` names it", way=WAY)
        remember(self._spool, name, stamp, reason)

    def _stored(self, path: Path) -> str:
        """Store a file in the spool and return its UID; empty if the node stops before there is room.

        Raises ImageError and NotTakenError if it cannot be taken.
        """
        budget = self._intake.budget
        content = read_content(path, self._most, "larger than instance_mb or memory_mb")
        try:
            while not budget.hold(id(self), len(content)):
                if self._stopping.wait(FULL_PAUSE):
                    return ""
            arrival, dataset = taken_apart(memoryview(content), self._intake.classes)
            while self._intake.take(arrival, (file_head(arrival), dataset), WAY) is None:
                if self._stopping.wait(FULL_PAUSE):
                    return ""
            return arrival.uid
        finally:
            budget.hold(id(self), 0)


def _stamp(path: Path) -> Stamp | None:
    """Return what identifies the state of a file; None if it is gone."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns, found.st_ino
    return None


def move(path: Path, to: Path) -> None:
    """Move a file; if the name exists, add a number. Raises OSError."""
    to.parent.mkdir(parents=True, exist_ok=True)
    free, number = to, 1
    while free.exists() or free.is_symlink():
        free, number = to.with_name(f"{to.stem}-{number}{to.suffix}"), number + 1
    try:
        shutil.move(path, free)
    except OSError:
        if path.exists():  # a copy to another file system may be incomplete
            with contextlib.suppress(OSError):
                free.unlink()
        raise


def remembered(spool: Spool, name: str) -> Stamp | None:
    """Return the remembered stamp of a file in the folder."""
    rows = spool.query("SELECT bytes, changed, inode FROM folder_files WHERE name = ?", (_key(name),))
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def remember(spool: Spool, name: str, stamp: Stamp, reason: str) -> None:
    """Do not take a file again until it changes. reason: why it was not taken; empty if it was."""
    with spool.transaction() as db:
        db.execute("INSERT OR REPLACE INTO folder_files VALUES (?, ?, ?, ?, ?)", (_key(name), *stamp, reason))


def forget_gone(spool: Spool, root: Path) -> None:
    """Forget files that are no longer in the folder."""
    names = spool.query("SELECT name FROM folder_files")
    paths = [(name, root / os.fsdecode(name)) for (name,) in names]
    gone = [(name,) for name, path in paths if not (path.exists() or path.is_symlink())]
    with spool.transaction() as db:
        db.executemany("DELETE FROM folder_files WHERE name = ?", gone)


def _key(name: str) -> str | bytes:
    """Return a name for the queue: bytes if it is not UTF-8; `os.fsdecode` converts it back."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name
