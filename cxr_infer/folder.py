"""A directory held open, so that files reached through it are really in it: links below it are not followed.

An archive of X-rays can contain links, FIFOs and hard links. So our own files are opened one name at a time relative to
an open directory (openat(2) with O_NOFOLLOW), and their type is checked after opening. On systems that cannot open
directories (Windows), each name is checked before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cxr_infer.errors import ImageError

TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".cxr-", ".part"

KINDS_OF_FILE = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

HELD = (
    hasattr(os, "O_NOFOLLOW")
    and {os.open, os.stat, os.mkdir, os.rename, os.unlink} <= os.supports_dir_fd
    and os.scandir in os.supports_fd
)
OF_FILES = sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))
OF_FOLDERS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
NO_NAMES = frozenset({"", ".", ".."})
SEPARATORS = frozenset("\0/\\:" if os.name == "nt" else "\0/")
JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT, which Windows follows like a link to a directory


class Folder:
    """An open directory, for use in a `with` statement. Names are those of its direct children.

    Methods raise OSError, and ImageError for entries of the wrong type.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self._descriptor = descriptor

    @staticmethod
    def opened(path: Path) -> Folder:
        """Open a directory given by the user. Links to it are followed."""
        if HELD:
            return Folder(path, os.open(path, OF_FOLDERS))
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return Folder(path)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def is_same(self, descriptor: int | None) -> bool:
        """Whether it is the same directory as an open one. True if the system cannot open directories."""
        if descriptor is None or self._descriptor is None:
            return True
        return os.path.samestat(os.fstat(self._descriptor), os.fstat(descriptor))

    def names(self, chosen: Callable[[str], bool]) -> list[str]:
        """Return the names for which `chosen` is true, sorted."""
        with os.scandir(self.path if self._descriptor is None else self._descriptor) as entries:
            return sorted(entry.name for entry in entries if chosen(entry.name))

    def look(self, name: str) -> os.stat_result | None:
        """Return the stat of a name without following links; None if it does not exist."""
        _require_name(name)
        try:
            return os.stat(self._place(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def below(self, name: str, *, make: bool = False) -> Folder:
        """Open a folder in it. make: create it if it is missing."""
        _require_name(name)  # before it is created
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._place(name), dir_fd=self._descriptor)
        found = self.look(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if is_link(found):
            raise ImageError(f"{self.path / name}: is a link, which is not followed; remove it or give another --out")
        if not stat.S_ISDIR(found.st_mode):
            raise ImageError(f"{self.path / name}: is not a directory, but results go there; move it elsewhere")
        if self._descriptor is None:
            return Folder.opened(self.path / name)
        descriptor = os.open(name, OF_FOLDERS | os.O_NOFOLLOW, dir_fd=self._descriptor)
        return Folder(self.path / name, descriptor)

    def open(self, name: str, flags: int, *, single: bool = False) -> int:
        """Return the descriptor of a plain file. single: also refuse files with other names (hard links)."""
        before = self.look(name)  # checked first: opening a device may have effects
        if before is not None:
            self._require_plain(name, before, single)
        descriptor = os.open(self._place(name), flags | OF_FILES, 0o666, dir_fd=self._descriptor)
        try:
            self._require_plain(name, os.fstat(descriptor), single)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def reader(self, name: str, *, single: bool = False) -> BinaryIO:
        return os.fdopen(self.open(name, os.O_RDONLY, single=single), "rb")

    def remove(self, name: str) -> None:
        """Remove a file, or a link itself."""
        os.unlink(self._place(name), dir_fd=self._descriptor)

    def write(self, name: str, parts: Iterable[bytes], label: str = "") -> tuple[int, int]:
        """Write a file atomically: under a temporary name, synced, then renamed. Returns device and inode."""
        with self.new_file(name, label) as file:
            file.begin()
            file.stream.writelines(parts)
            file.sync()
            made = os.fstat(file.stream.fileno())
            file.put_in_place()
            return made.st_dev, made.st_ino

    def new_file(self, name: str, label: str = "") -> NewFile:
        _require_name(name)
        return NewFile(self, name, label)

    def rename(self, old: str, new: str) -> None:
        """Rename an entry; an existing file or link is replaced."""
        os.replace(self._place(old), self._place(new), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove_temporaries(self, spared: Callable[[str], bool]) -> None:
        """Remove temporary files left by killed runs. spared: whether to keep a name."""

        def left(name: str) -> bool:
            return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX) and not spared(name)

        for name in self.names(left):
            with contextlib.suppress(OSError):
                self.remove(name)

    def _place(self, name: str) -> str | Path:
        return self.path / name if self._descriptor is None else name

    def _require_plain(self, name: str, found: os.stat_result, single: bool) -> None:
        kind = "a link" if is_link(found) else not_plain(found.st_mode)
        if kind is not None:
            raise ImageError(f"{self.path / name}: is {kind}, not a file; move it elsewhere")
        if single and found.st_nlink > 1:
            raise ImageError(f"{self.path / name}: has other names (hard links); replace it with a copy")


class NewFile:
    """A new file under a temporary name until `put_in_place`; leaving the `with` statement earlier removes it.

    Call `begin` inside the `with` statement, so that an interrupt at any moment leaves nothing behind.
    """

    def __init__(self, folder: Folder, name: str, label: str) -> None:
        self._folder, self._name = folder, name
        self._temporary = f"{TEMPORARY_PREFIX}{label}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        self.stream: BinaryIO = io.BytesIO()

    def __enter__(self) -> NewFile:
        return self

    def begin(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self.stream = os.fdopen(self._folder.open(self._temporary, flags), "w+b")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk, already reported
            self.stream.close()
        with contextlib.suppress(OSError):  # already renamed
            self._folder.remove(self._temporary)

    def sync(self) -> None:
        self.stream.flush()
        os.fsync(self.stream.fileno())

    def put_in_place(self) -> None:
        """Rename it to its final name. It stays open for writing; the folder is no longer needed."""
        if os.name == "nt":  # cannot rename open files
            self.stream.close()
        self._folder.rename(self._temporary, self._name)
        if os.name == "nt":
            self.stream = os.fdopen(self._folder.open(self._name, os.O_RDWR), "r+b")
            self.stream.seek(0, os.SEEK_END)


@contextlib.contextmanager
def folder_below(root: Folder, names: Sequence[str], *, make: bool = False) -> Iterator[Folder]:
    """Open a nested folder by its names, one below the other. Raises as `Folder.below` does."""
    with contextlib.ExitStack() as opened:
        folder = root
        for name in names:
            folder = opened.enter_context(folder.below(name, make=make))
        yield folder


def not_plain(mode: int) -> str | None:
    """Describe the file type of a `st_mode`; None for a plain file."""
    return next((kind for is_kind, kind in KINDS_OF_FILE if is_kind(mode)), None)


def is_link(found: os.stat_result) -> bool:
    """Whether an lstat result is that of a link or junction."""
    return stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == JUNCTION


def is_link_at(path: Path) -> bool:
    try:
        return is_link(path.lstat())
    except OSError:
        return False


def _require_name(name: str) -> None:
    """Raise ImageError for a name that is not a plain file name: keys of object stores may be any text."""
    if name in NO_NAMES or not SEPARATORS.isdisjoint(name):
        raise ImageError(f"{name!r} is not a valid file name on this system; rename it")
