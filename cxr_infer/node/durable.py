"""Files that survive a power loss, and locks that end with their process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cxr_infer.errors import UsageError
from cxr_infer.storage.locks import locked


def write_synced(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file completely or not at all, synced to disk. Raises OSError."""
    temporary = path.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open directories
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(folder: Path, name: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the named lock of a spool. Raises UsageError if another process still holds it after `wait` s."""
    end = time.monotonic() + wait
    with (folder / f"{name}.lock").open("ab") as file:
        while not locked(file.fileno()):
            if time.monotonic() >= end:
                raise UsageError(f"{folder}: in use by another node; stop it or give another --spool")
            time.sleep(0.1)
        yield
