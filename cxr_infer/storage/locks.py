"""Locks on record files, which show the runs at work in an output directory. The kernel drops them with the process."""

from __future__ import annotations

import os
from typing import BinaryIO

from cxr_infer.folder import Folder

try:
    import fcntl
except ImportError:  # Windows has no such locks: users must avoid two runs into one directory
    fcntl = None  # type: ignore[assignment]

OUTLASTS_REPLACING = fcntl is not None  # whether a locked file can be replaced; Windows replaces no open one


def open_locked(folder: Folder, name: str) -> BinaryIO | None:
    """Open a record file to append to, locked; None if another run has it. Raises as `Folder.open`."""
    while True:
        file = os.fdopen(folder.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, single=True), "ab")
        if not locked(file.fileno()):
            file.close()
            return None
        there = folder.look(name)
        if there is not None and os.path.samestat(os.fstat(file.fileno()), there):
            return file
        file.close()  # a run that just ended replaced the file


def is_free(folder: Folder, name: str) -> bool:
    """Whether no run holds this record file. Raises as `Folder.open`."""
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
    except OSError:  # a network disk without locks
        return True
    return True
