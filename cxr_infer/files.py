"""Files as bytes: read only what is a plain file of bearable size, write a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from cxr_infer.errors import ImageError, OutputLostError

TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".cxr-", ".part"

KINDS_OF_FILE = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

# what every further file would meet as well: no space, no quota, a read-only or failing disk
LOST = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ESTALE})


def read_content(path: Path, most: int) -> bytes:
    """The bytes of a plain file. Raises ImageError where it is none, is empty, changes meanwhile or has over `most`."""
    try:
        # asked before opening: opening a device may do something, opening a FIFO waits for a writer
        _require_plain(path, path.stat().st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            before = os.fstat(file.fileno())
            _require_plain(path, before.st_mode)
            if before.st_size > most:
                raise ImageError(f"{path}: {before.st_size / 1e6:.0f} MB is too much for one image; see --max-pixels")
            content = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(content) != after.st_size:
        raise ImageError(f"{path}: changed while it was read; run again once it is complete")
    if not content:
        raise ImageError(f"{path}: the file is empty")
    return content


def not_plain(mode: int) -> str | None:
    """What a `st_mode` is that is no plain file's, in words."""
    return next((kind for is_kind, kind in KINDS_OF_FILE if is_kind(mode)), None)


def _require_plain(path: Path, mode: int) -> None:
    kind = not_plain(mode)
    if kind is not None:
        raise ImageError(f"{path}: is {kind}, not a file; move it elsewhere")


def write_bytes(path: Path, content: bytes | Iterable[bytes], root: Path | None = None, label: str = "") -> None:
    """Write a whole file: to a temporary name beside it, synced to the disk, then renamed.

    content: what the file holds; given as parts, it need never be in memory as a whole. root: a directory that must be
    there; only folders below it are made. label: of the temporary name.
    Raises ImageError on failure, as OutputLostError where the next file would fail as well.
    """
    parts = (content,) if isinstance(content, bytes) else content
    # the name is known before the file exists, so that an interrupt at any moment leaves nothing behind
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{label}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        _make_folders(path.parent, root)
        with temporary.open("xb") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        kind = OutputLostError if error.errno in LOST else ImageError
        raise kind(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # once renamed, the temporary name is gone
            temporary.unlink()


def _make_folders(folder: Path, root: Path | None) -> None:
    if folder == root:
        return
    if root is not None:
        _make_folders(folder.parent, root)
    folder.mkdir(parents=root is None, exist_ok=True)


def remove_temporaries(folder: Path, spared: Callable[[str], bool] = lambda name: False) -> None:
    """Remove what a killed run left half written in a directory, if it exists. spared: names that stay."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
            if not spared(path.name):
                path.unlink(missing_ok=True)
