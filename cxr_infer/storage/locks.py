"""Locks on record files, which mark active runs in an output directory. The kernel releases them with the process."""

from __future__ import annotations

import os
from typing import BinaryIO

from cxr_infer.folder import Folder

try:
    import fcntl
except ImportError:  # Windows has no such locks: users must avoid two runs into one directory
    fcntl = None  # type: ignore[assignment]

OUTLASTS_REPLACING = fcntl is not None  # whether a locked file can be replaced; Windows cannot replace open files


def open_locked(folder: Folder, name: str) -> BinaryIO | None:
    """Open and lock a record file for appending; None if another run holds it. Raises as `Folder.open` does."""
    while True:
        file = os.fdopen(folder.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, single=True), "ab")
        if not locked(file.fileno()):
            file.close()
            return None
        there = folder.look(name)
        if there is not None and os.path.samestat(os.fstat(file.fileno()), there):
            return file
        file.close()  # replaced by a run that just ended


def is_free(folder: Folder, name: str) -> bool:
    """Whether no run holds this record file. Raises as `Folder.open` does."""
    try:
        with folder.reader(name, single=True) as file:
            return locked(file.fileno(), shared=True)
    except FileNotFoundError:
        return True


def locked(file: int | None, *, shared: bool = False) -> bool:
    """Lock an open file; False if another run holds it."""
    if fcntl is None or file is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return True
    return True
