"""An output directory, written by one run at a time, or by the shards of one run. Later runs find finished results.

`.cxr-infer.jsonl` has a line per result: digests of its source, of model and settings, and of the result. The line is
written before the result, so that a run can be killed at any moment; the next run trusts a line only if the result
matches it. Each shard locks its own record file, and reads all of them. All access is through `Folder`, so links in the
directory are not followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cxr_infer.errors import CxrError, ImageError, OutputLostError, UsageError
from cxr_infer.files import cannot_write
from cxr_infer.folder import HELD, OF_FOLDERS, Folder, folder_below
from cxr_infer.storage.claims import Claims, folded, folds_names
from cxr_infer.storage.ledger import Entry, Records, Remains, digest_of, read_lines
from cxr_infer.storage.locks import OUTLASTS_REPLACING, is_free, locked, open_locked
from cxr_infer.storage.protocols import State
from cxr_infer.storage.record_files import RECORD_FILES, record_file, worker_file
from cxr_infer.storage.shard import Shard, is_sibling


class OutputDirectory:
    """An `Output` in a local directory, locked during its `with` statement for all but other shards of the same run.

    made_by: `digest` of the model's hash and all settings. Entering raises UsageError if the directory cannot be
    created or written, another run is writing there, or its record files are not plain files.
    """

    def __init__(self, path: Path, made_by: bytes, shard: Shard | None = None) -> None:
        self.path = path
        self._made_by = made_by
        self._shard = shard
        self._file = record_file(shard)
        self._label = "" if shard is None else f"{shard.label}-"  # prefix of temporary names, which other shards spare
        self._cleaned: set[Path] = set()
        self._claims = Claims()
        self.folds_names = False  # see `claims.folds_names`
        self._taken_in: list[str] = []  # record files that are merged into this run's own
        self._directory: int | None = None
        self._ledger: BinaryIO | None = None
        self._records = Records()

    def __enter__(self) -> OutputDirectory:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._directory = open_directory(self.path)
            with self._root() as root:
                self._ledger = self._lock(root)
                root.remove_temporaries(self._spares)
                self._read_records(root)
                self.folds_names = folds_names(root, self._label)
            if self._ledger.tell():
                self._ledger.write(b"\n")  # ends a line that a kill cut short
                self._ledger.flush()
        except BaseException as error:
            self._close()
            if isinstance(error, ImageError):  # a link, FIFO or the like in place of our file
                raise UsageError(str(error)) from error
            if not isinstance(error, OSError):
                raise
            if isinstance(error, FileExistsError) and not self.path.is_dir():
                raise UsageError(f"{self.path}: is a file, not a directory; give another --out") from error
            raise UsageError(
                f"{self.path}: cannot be written to: {error.strerror or error}; give another --out"
            ) from error
        return self

    @contextlib.contextmanager
    def _root(self) -> Iterator[Folder]:
        """Open the output directory. Raises OutputLostError if it was replaced, and OSError."""
        with Folder.opened(self.path) as root:
            if not root.is_same(self._directory):
                raise OutputLostError(f"{self.path}: cannot be written: the output directory was replaced")
            yield root

    @contextlib.contextmanager
    def _folder(self, target: Path, *, make: bool = False) -> Iterator[Folder]:
        """Open the folder of a result. Raises ImageError if a link leads there, and OSError."""
        try:
            names = target.relative_to(self.path).parent.parts
        except ValueError as error:
            raise ImageError(f"{target}: is outside the output directory; rename the image") from error
        with self._root() as root, folder_below(root, names, make=make) as folder:
            yield folder

    def _lock(self, root: Folder) -> BinaryIO:
        """Open and lock the record file. Raises UsageError if another run is active."""
        free = locked(self._directory, shared=self._shard is not None)
        ledger = open_locked(root, self._file) if free else None
        try:
            if ledger is None or not all(is_free(root, name) for name in self._rivals(root)):
                raise UsageError(f"{self.path}: another run is writing there; wait for it or give another --out")
        except BaseException:
            if ledger is not None:
                ledger.close()
            raise
        return ledger

    def _others(self, root: Folder) -> list[str]:
        """Return the names of other runs' record files."""
        return [name for name in root.names(lambda name: fnmatchcase(name, RECORD_FILES)) if name != self._file]

    def _rivals(self, root: Folder) -> list[str]:
        """Return the names of record files of runs that must not be active at the same time."""
        return [name for name in self._others(root) if not is_sibling(name, self._shard)]

    def _read_records(self, root: Folder) -> None:
        """Read all record files; a shard keeps only its share. The run's own file is read last and takes precedence."""
        shard = self._shard
        for file in (*self._others(root), self._file):
            lines = self._lines(root, file)
            entries = (entry for entry in lines if shard is None or shard.holds(entry[0]))
            workers = file.startswith(f".cxr-infer.{self._label}")  # left by workers of a killed run
            self._records.add(entries, own=workers or file == self._file)
            if workers and file != self._file:
                self._taken_in.append(file)

    def _lines(self, root: Folder, file: str) -> Iterator[tuple[str, Entry]]:
        """Yield the entries of a record file, nothing if it does not exist."""
        with contextlib.suppress(FileNotFoundError), root.reader(file, single=True) as lines:
            yield from read_lines(lines, self.path / file)

    def _spares(self, name: str) -> bool:
        """Whether a temporary file may belong to another active shard."""
        return is_sibling(name, self._shard)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not OUTLASTS_REPLACING and self._ledger is not None:
                self._ledger.close()
            if kind is None and not self._lost():
                self._compact()
        except (OSError, CxrError):
            pass  # a full disk has already been reported, and the uncompacted records are valid too
        finally:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # lines are flushed one by one, so failures were reported
            if self._ledger is not None:
                self._ledger.close()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None
        self._records.close()
        self._claims.close()

    def _compact(self) -> None:
        """Rewrite the record file with one line per result, and remove merged record files."""
        with self._root() as root:
            root.write(self._file, self._records.own_lines(), self._label)
            for file in self._taken_in:
                with contextlib.suppress(FileNotFoundError):
                    root.remove(file)

    def check(self, target: Path) -> None:
        """Raise ImageError if a result cannot be written there, for example because of a link in its path."""
        try:
            with self._folder(target) as folder:
                _looked_at(folder, target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(target, error) from error

    def state(self, name: str, target: Path) -> State:
        """Return the state of the target. FINISHED means that model and settings match; for the source see `made_of`.

        Raises ImageError as `check` does, and if the target cannot be examined, e.g. because its name is too long.
        """
        try:
            with self._folder(target) as folder:
                found = _looked_at(folder, target)
                if found is None:
                    return State.ABSENT
                known = self._records.of(name)
                if not known or not stat.S_ISREG(found.st_mode):  # opening a FIFO would block
                    return State.FOREIGN
                with folder.reader(target.name) as file:
                    return self._state_of(name, known, file)
        except FileNotFoundError:
            return State.ABSENT
        except OSError as error:
            raise cannot_write(target, error) from error

    def _state_of(self, name: str, known: list[Entry], file: BinaryIO) -> State:
        """Compare a file with its records, by size first to avoid reading it."""
        size = os.fstat(file.fileno()).st_size
        likely = [entry for entry in known if entry.may_be(size)]
        result = digest_of(file) if likely else b""
        entry = next((entry for entry in likely if entry.result == result), None)
        if entry is not None:
            self._records.keep_only(name, result)
            return State.FINISHED if entry.made_by == self._made_by else State.OUTDATED
        remains = Remains.of(file)
        return State.DAMAGED if any(entry.leaves(remains) for entry in known) else State.FOREIGN

    def shown(self, target: Path) -> str:
        return str(target)

    def landing(self, target: Path) -> Path:
        """Return the real directory of a result, links resolved."""
        try:
            return target.parent.resolve()
        except ValueError:  # not a valid folder name; reported by `check`
            return self.path

    def claim(self, name: str, target: Path) -> None:
        """Claim the file of a result, once per input. Raises ImageError if another input has claimed it."""
        path = target.as_posix()
        other = self._claims.claim(folded(path) if self.folds_names else path, name)
        if other != name:
            raise ImageError(f"{name}: its result would replace that of {other} on this disk; rename one of them")

    def made_of(self, name: str, source: bytes) -> bool:
        """Whether the result recorded for this name was made from a source with this digest."""
        return any(entry.source == source for entry in self._records.of(name))

    def read(self, target: Path, most: int) -> bytes:
        """Return a result's content. Raises ImageError if it is unreadable or larger than `most` bytes."""
        try:
            with self._folder(target) as folder, folder.reader(target.name) as file:
                content = file.read(most + 1)
        except OSError as error:
            raise ImageError(f"{target}: cannot be read: {error.strerror or error}") from error
        if len(content) > most:
            raise ImageError(f"{target}: over {most / 1e6:.0f} MB is too large for one image; see --max-pixels")
        return content

    def known(self, name: str) -> list[Entry]:
        return self._records.of(name)

    def learn(self, name: str, entries: list[Entry]) -> None:
        self._records.replace(name, entries)

    def take_in(self, run: str) -> None:
        with self._root() as root:
            for file in root.names(lambda name: fnmatchcase(name, worker_file(self._label, run, "*"))):
                self._records.add(self._lines(root, file), own=True)
                self._taken_in.append(file)

    def write(self, name: str, target: Path, source: bytes, content: bytes) -> None:
        """Record and write a result. Raises ImageError; OutputLostError if no further result can be written."""
        if self._lost():
            raise OutputLostError(f"{target}: cannot be written: the output directory was moved or removed")
        entry = Entry.of(source, self._made_by, content)
        try:
            self._announce(entry.line(name))
        except OSError as error:
            raise OutputLostError(f"{target}: cannot be written: {error.strerror or error}") from error
        try:
            with self._folder(target, make=True) as folder:
                if folder.path != self.path and folder.path not in self._cleaned:
                    self._cleaned.add(folder.path)
                    folder.remove_temporaries(self._spares)
                self._require_own(name, folder, target)
                written = folder.write(target.name, (content,), self._label)
        except OSError as error:
            raise cannot_write(target, error) from error
        self._claims.give(_file(*written), name)
        self._records.add([(name, entry)], own=True)
        self._records.keep_only(name, entry.result)

    def _require_own(self, name: str, folder: Folder, target: Path) -> None:
        """Raise ImageError if this run wrote the existing file for another input, even under another name."""
        found = folder.look(target.name)
        other = self._claims.holder(_file(found.st_dev, found.st_ino)) if found is not None else None
        if other not in (None, name):
            raise ImageError(f"{name}: its result would replace that of {other} on this disk; rename one of them")

    def _announce(self, line: bytes) -> None:
        """Append a line and sync it, so that even a power cut cannot leave a result without its line."""
        assert self._ledger is not None, "used in a with statement"
        self._ledger.write(line)
        self._ledger.flush()
        os.fsync(self._ledger.fileno())

    def _lost(self) -> bool:
        """Whether the output directory was moved, removed or replaced."""
        try:
            with self._root():
                return False
        except (OSError, OutputLostError):
            return True


def open_directory(path: Path) -> int | None:
    """Open a directory, to lock it and to recognise it later. None on Windows, which cannot open directories."""
    return os.open(path, OF_FOLDERS) if HELD else None


def _looked_at(folder: Folder, target: Path) -> os.stat_result | None:
    """Return the stat of a target, None if it does not exist. Raises ImageError if it cannot be replaced."""
    found = folder.look(target.name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{target}: is a directory, but a result goes there; move it elsewhere")
    return found


def _file(device: int, inode: int) -> str:
    """Return the claim key of a written file, which is not a valid path."""
    return f"\0{device}/{inode}"
