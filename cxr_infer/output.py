"""An output directory: one run at a time writes to it, or the shards of one, and a later run finds what is finished.

What was written is recorded in `.cxr-infer.jsonl`, a line a result: which content it was made of, what made it, and
what it is. A line is added before its result appears, so that a run may be killed at any moment: the next one believes
no line without the very result that it names. Each shard has a record file of its own and locks it; all are read.
"""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from enum import Enum
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cxr_infer.errors import CxrError, ImageError, OutputLostError, UsageError
from cxr_infer.files import remove_temporaries, write_bytes
from cxr_infer.records import Entry, Records, read_lines
from cxr_infer.shard import Shard, is_sibling

try:
    import fcntl
except ImportError:  # Windows has no such locks; two runs into one directory are the user's to avoid there
    fcntl = None  # type: ignore[assignment]

MANIFEST = ".cxr-infer.jsonl"
RECORD_FILES = ".cxr-infer*.jsonl"
DIGEST = 16  # bytes of a SHA-256 that are kept, a million times


class State(Enum):
    """What lies where a result goes."""

    ABSENT = "nothing"
    FINISHED = "the same result, from the same content by the same model and settings"
    OUTDATED = "a result of this program, from other content or by another model or settings"
    FOREIGN = "a file that is no result of this program, or was changed since"


def digest(content: bytes) -> bytes:
    """The first half of the SHA-256 of some content, by which the manifest knows it."""
    return sha256(content).digest()[:DIGEST]


def record_file(shard: Shard | None) -> str:
    """The name of the file in which a run records its results."""
    return MANIFEST if shard is None else f".cxr-infer.{shard.label}.jsonl"


def worker_file(label: str, run: str, worker: str) -> str:
    """The name of the file in which a worker of a run records its results."""
    return f".cxr-infer.{label}{run}-{worker}.jsonl"


class OutputDirectory:
    """To be used in a `with` statement, in which no other run can enter the directory but other shards of the same.

    made_by: what made the results: `digest` of the model's hash and all settings. Entering raises UsageError where the
    directory cannot be made or written to, or another run is writing there.
    """

    def __init__(self, path: Path, made_by: bytes, shard: Shard | None = None) -> None:
        self.path = path
        self._made_by = made_by
        self._shard = shard
        self._file = path / record_file(shard)
        self._label = "" if shard is None else f"{shard.label}-"  # of temporary names, which a sibling leaves alone
        self._cleaned: set[Path] = set()
        self._claimed: dict[str, str] = {}
        self.folds_names = False  # whether names that differ only in case or composition are one file there
        self._taken_in: list[Path] = []  # record files whose lines go into this run's own
        self._directory: int | None = None
        self._manifest: BinaryIO | None = None
        self._records = Records()

    def __enter__(self) -> OutputDirectory:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._directory = open_directory(self.path)
            self._manifest = self._lock()
            self._remove_temporaries(self.path)
            self._read_records()
            self.folds_names = self._file.with_name(self._file.name.upper()).exists()
            if self._manifest.tell():
                self._manifest.write(b"\n")  # ends a line that a kill cut short
                self._manifest.flush()
        except BaseException as error:
            self._close()
            if not isinstance(error, OSError):
                raise
            raise UsageError(
                f"{self.path}: cannot be written to: {error.strerror or error}; give another --out"
            ) from error
        return self

    def _lock(self) -> BinaryIO:
        """Open the record file. The kernel drops these locks with the process, however it ends."""
        free = _locked(self._directory, shared=self._shard is not None)
        manifest = open_locked(self._file) if free else None
        if manifest is None or not all(_is_free(path) for path in self._rivals()):
            if manifest is not None:
                manifest.close()
            raise UsageError(f"{self.path}: another run is writing there; wait for it or give another --out")
        return manifest

    def _others(self) -> Iterator[Path]:
        """The record files of other runs."""
        return (path for path in sorted(self.path.glob(RECORD_FILES)) if path != self._file)

    def _rivals(self) -> Iterator[Path]:
        """The record files of runs that must not be at work now."""
        return (path for path in self._others() if not is_sibling(path.name, self._shard))

    def _read_records(self) -> None:
        """All of them; in a shard, what they say of its share. Its own file comes last and decides."""
        shard = self._shard
        for path in (*self._others(), self._file):
            entries = (entry for entry in read_lines(path) if shard is None or shard.holds(entry[0]))
            workers = path.name.startswith(f".cxr-infer.{self._label}")  # of a run like this one that was killed
            self._records.add(entries, own=workers or path == self._file)
            if workers and path != self._file:
                self._taken_in.append(path)

    def _remove_temporaries(self, folder: Path) -> None:
        remove_temporaries(folder, spared=lambda name: is_sibling(name, self._shard))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if fcntl is None and self._manifest is not None:
                self._manifest.close()  # Windows replaces no open file; elsewhere its lock must last
            if kind is None and not self._lost():
                self._compact()
        except (OSError, CxrError):
            pass  # a full disk has been reported by then, and the lines that are there serve the next run
        finally:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # lines are flushed one by one; what is left has failed before
            if self._manifest is not None:
                self._manifest.close()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None
        self._records.close()

    def _compact(self) -> None:
        """One line a result; a run without shards has taken in what shards recorded before."""
        write_bytes(self._file, self._records.own_lines(), root=self.path, label=self._label)
        for path in self._taken_in:
            path.unlink(missing_ok=True)

    def state(self, name: str, target: Path) -> State:
        """What lies at the target; FINISHED only says that the model and settings agree: see `made_of`.

        Raises ImageError where that cannot be told, as of a name that is too long.
        """
        try:
            plain = stat.S_ISREG(target.lstat().st_mode)  # a FIFO in its place would be waited for
            known = self._records.of(name) if plain else []
            result = digest(target.read_bytes()) if known else b""
        except FileNotFoundError:
            return State.ABSENT
        except OSError as error:
            raise ImageError(f"{target}: cannot be written: {error.strerror or error}") from error
        entry = next((entry for entry in known if entry.result == result), None)
        if entry is None:
            return State.FOREIGN
        self._records.keep_only(name, result)
        return State.FINISHED if entry.made_by == self._made_by else State.OUTDATED

    def shown(self, target: Path) -> str:
        return str(target)

    def landing(self, target: Path) -> Path:
        """Where the file lands is what counts, not by which name."""
        return target.parent.resolve()

    def claim(self, name: str, target: Path) -> None:
        """To be called for each result once. Raises ImageError where its file is another's under a like name."""
        if not self.folds_names:
            return
        other = self._claimed.setdefault(unicodedata.normalize("NFC", str(target)).casefold(), name)
        if other != name:
            raise ImageError(f"{name}: its result would replace that of {other} on this disk; rename one of them")

    def made_of(self, name: str, source: bytes) -> bool:
        """Whether the recorded result of that name was made of content with this digest."""
        return any(entry.source == source for entry in self._records.of(name))

    def known(self, name: str) -> list[Entry]:
        return self._records.of(name)

    def learn(self, name: str, entries: list[Entry]) -> None:
        self._records.replace(name, entries)

    def take_in(self, run: str) -> None:
        for path in sorted(self.path.glob(worker_file(self._label, run, "*"))):
            self._records.add(read_lines(path), own=True)
            self._taken_in.append(path)

    def write(self, name: str, target: Path, source: bytes, content: bytes) -> None:
        """Record and write one result. Raises ImageError, as OutputLostError where no other could be written."""
        if self._lost():
            raise OutputLostError(f"{target}: cannot be written: the output directory was moved or removed")
        entry = Entry(source, self._made_by, digest(content))
        try:
            self._announce(entry.line(name))
        except OSError as error:
            raise OutputLostError(f"{target}: cannot be written: {error.strerror or error}") from error
        if target.parent != self.path and target.parent not in self._cleaned:
            self._cleaned.add(target.parent)
            self._remove_temporaries(target.parent)
        # a disk that is unmounted at this moment is not written beside
        write_bytes(target, content, root=self.path, label=self._label)
        self._records.add([(name, entry)], own=True)
        self._records.keep_only(name, entry.result)

    def _announce(self, line: bytes) -> None:
        """Record what will be there; to the disk, as a power cut must not leave the result without its line either."""
        assert self._manifest is not None, "used in a with statement"
        self._manifest.write(line)
        self._manifest.flush()
        os.fsync(self._manifest.fileno())

    def _lost(self) -> bool:
        """Whether the path no longer leads to the directory that was entered."""
        if self._directory is None:
            return not self.path.is_dir()
        try:
            now, entered = self.path.stat(), os.fstat(self._directory)
        except OSError:
            return True
        return (now.st_dev, now.st_ino) != (entered.st_dev, entered.st_ino)


def open_directory(path: Path) -> int | None:
    """For its lock, and to know it again. None on Windows, which opens no directories."""
    return os.open(path, os.O_RDONLY) if fcntl is not None else None


def open_locked(path: Path) -> BinaryIO | None:
    """A record file to append to, locked; None where another run has it."""
    while True:
        file = path.open("ab")
        if not _locked(file.fileno()):
            file.close()
            return None
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
        file.close()  # a run that ended just now put a new file in its place


def _is_free(path: Path) -> bool:
    """Whether no run has that record file open."""
    try:
        with path.open("rb") as file:
            return _locked(file.fileno(), shared=True)
    except FileNotFoundError:
        return True


def _locked(file: int | None, *, shared: bool = False) -> bool:
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
