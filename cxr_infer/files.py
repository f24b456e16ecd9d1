"""Read plain files of limited size, and write files completely or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from cxr_infer.errors import CxrError, ImageError, OutputLostError, UsageError
from cxr_infer.folder import Folder, folder_below, is_link_at, not_plain
from cxr_infer.untrusted_json import MOST_BYTES, parse_object

# errors that every further file would meet too: no space, no quota, a read-only or failing disk
DISK_FAILURES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ESTALE})


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file, or a link to one, for reading. Raises ImageError for anything else, and OSError."""
    # checked before opening: opening a device may have effects, and opening a FIFO blocks
    _require_plain(path, path.stat().st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _require_plain(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_object(path: Path) -> dict[str, Any]:
    """Parse a plain JSON file of at most MOST_BYTES. Raises OSError and ValueError."""
    with open_plain(path) as file:
        return parse_object(file.read(MOST_BYTES + 1))


def read_toml(path: Path, kind: str, way_out: str) -> dict[str, Any]:
    """Parse a plain TOML file of at most MOST_BYTES.

    kind: what it is of, for messages. way_out: where it cannot be read. Raises UsageError.
    """
    try:
        with open_plain(path) as file:
            content = file.read(MOST_BYTES + 1)
    except ImageError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}; {way_out}") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path}: is over {MOST_BYTES / 1e6:.0f} MB; is it the right file?")
    try:
        return tomllib.loads(content.decode())
    except RecursionError as error:
        raise UsageError(f"{path}: not valid TOML for a {kind}: nested too deep; correct it") from error
    except ValueError as error:
        raise UsageError(f"{path}: not valid TOML: {' '.join(str(error).split())}; correct it") from error


def read_content(path: Path, most: int, too_much: str = "is too large for one image; see --max-pixels") -> bytes:
    """Return the bytes of a plain file.

    most: bytes. too_much: end of the message for larger files.
    Raises ImageError if it cannot be read, is not a plain file, is empty, changes meanwhile or is larger than `most`.
    """
    try:
        with open_plain(path) as file:
            before = os.fstat(file.fileno())
            if before.st_size > most:
                raise ImageError(f"{path}: {before.st_size / 1e6:.0f} MB {too_much}")
            content = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(content) != after.st_size:
        raise ImageError(f"{path}: changed while it was read; run again once it is complete")
    if not content:
        raise ImageError(f"{path}: the file is empty")
    return content


def _require_plain(path: Path, mode: int) -> None:
    kind = not_plain(mode)
    if kind is not None:
        raise ImageError(f"{path}: is {kind}, not a file; move it elsewhere")


def require_directory(path: Path, otherwise: str) -> None:
    """Raise UsageError unless `path` is a directory. otherwise: advice in the message if it is a file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if is_link_at(path):
            raise UsageError(f"{path}: is a broken link; fix it or give another directory") from None
        raise UsageError(f"{path}: no such directory; check the path") from None
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path}: cannot be opened: {reason}; check the path and its permissions") from error
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path}: is {not_plain(found.st_mode) or 'a file'}, not a directory; {otherwise}")


def require_image_file(path: Path, directories: str = "give one image") -> None:
    """Raise UsageError if `path` exists but is not a file. directories: advice in the message for directories."""
    try:
        kind = not_plain(path.stat().st_mode)
    except OSError:  # reported when it is read
        return
    if kind is not None:
        directory = path.is_dir()
        raise UsageError(f"{path}: is {kind}, not an image; {directories if directory else 'give one image'}")


def write_bytes(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file atomically: under a temporary name in the same directory, synced, then renamed.

    An existing file or link is replaced, never written through. content: the bytes, or parts of them, so that they need
    not be in memory at once. Raises ImageError on failure; OutputLostError if further files would fail too.
    """
    write_below(path.parent, PurePath(path.name), content)


def write_below(root: Path, place: PurePath, content: bytes | Iterable[bytes]) -> None:
    """Write a file atomically below one of our own directories. Links below it are not followed.

    place: path of the file relative to `root`. Raises as `write_bytes` does, and ImageError for a link.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with Folder.opened(root) as opened, folder_below(opened, place.parent.parts, make=True) as folder:
            folder.write(place.name, (content,) if isinstance(content, bytes) else content)
    except OSError as error:
        raise cannot_write(root / place, error) from error


def open_below(root: Path, place: PurePath) -> BinaryIO:
    """Open a plain file below one of our own directories for reading. Raises ImageError for a link, and OSError."""
    with Folder.opened(root) as opened, folder_below(opened, place.parent.parts) as folder:
        return folder.reader(place.name)


def cannot_write(path: Path, error: OSError) -> CxrError:
    """Return the error for a failed write."""
    kind = OutputLostError if error.errno in DISK_FAILURES else ImageError
    return kind(f"{path}: cannot be written: {error.strerror or error}")
