"""Which runs are at work in an output directory: the kernel drops their locks with the process, however it ends."""

from __future__ import annotations

import os
from typing import BinaryIO

from cxr_infer.folder import Folder

try:
    import fcntl
except ImportError:  # Windows has no such locks; two runs into one directory are the user's to avoid there
    fcntl = None  # type: ignore[assignment]

OUTLASTS_REPLACING = fcntl is not None  # a locked file; Windows replaces no open one


def open_locked(folder: Folder, name: str) -> BinaryIO | None:
    """A record file to append to, locked; None where another run has it. Raises as `Folder.open`."""
    while True:
        file = os.fdopen(folder.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, single=True), "ab")
        if not locked(file.fileno()):
            file.close()
            return None
        there = folder.look(name)
        if there is not None and os.path.samestat(os.fstat(file.fileno()), there):
            return file
        file.close()  # a run that ended just now put a new file in its place


def is_free(folder: Folder, name: str) -> bool:
    """Whether no run has that record file open. Raises as `Folder.open`."""
    try:
        with folder.reader(name, single=True) as file:
            return locked(file.fileno(), shared=True)
    except FileNotFoundError:
        return True


def locked(file: int | None, *, shared: bool = False) -> bool:
    """Lock an open file; False where another run holds it."""
    if fcntl is None or file is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk without locks
        return True
    return True
