"""An output directory: one run at a time writes to it, and a later run finds what is finished.

What was written is recorded in `.cxr-infer.jsonl`, a line a result: which content it was made of, what made it, and
what it is. A line is added before its result appears, so that a run may be killed at any moment: the next one believes
no line without the very result that it names.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from cxr_infer.errors import ImageError, OutputLostError, UsageError
from cxr_infer.files import remove_temporaries, write_bytes

try:
    import fcntl
except ImportError:  # Windows has no such locks; two runs into one directory are the user's to avoid there
    fcntl = None  # type: ignore[assignment]

MANIFEST = ".cxr-infer.jsonl"
DIGEST = 16  # bytes of a SHA-256 that are kept in memory, a hundred thousand times


class State(Enum):
    """What lies where a result goes."""

    ABSENT = "nothing"
    FINISHED = "the same result, from the same content by the same model and settings"
    OUTDATED = "a result of this program, from other content or by another model or settings"
    FOREIGN = "a file that is no result of this program, or was changed since"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the manifest. The first halves of SHA-256 sums."""

    source: bytes
    made_by: bytes
    result: bytes

    def line(self, name: str) -> bytes:
        content = {
            "name": name,
            "source": self.source.hex(),
            "made_by": self.made_by.hex(),
            "result": self.result.hex(),
        }
        return json.dumps(content).encode() + b"\n"


def digest(content: bytes) -> bytes:
    """The first half of the SHA-256 of some content, by which the manifest knows it."""
    return sha256(content).digest()[:DIGEST]


class OutputDirectory:
    """To be used in a `with` statement, in which no other run can enter the directory.

    made_by: what made the results: `digest` of the model's hash and all settings. Entering raises UsageError where the
    directory cannot be made or written to, or another run is writing there.
    """

    def __init__(self, path: Path, made_by: bytes) -> None:
        self.path = path
        self._made_by = made_by
        self._entries: dict[str, _Entry] = {}
        self._cleaned: set[Path] = set()
        self._claimed: dict[str, str] = {}
        self.folds_names = False  # whether names that differ only in case or composition are one file there
        self._directory: int | None = None

    def __enter__(self) -> OutputDirectory:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock()
            remove_temporaries(self.path)
            self._entries = _read_manifest(self.path / MANIFEST)
            self._manifest = (self.path / MANIFEST).open("ab")
            self.folds_names = (self.path / MANIFEST.upper()).exists()
            if self._manifest.tell():
                self._manifest.write(b"\n")  # ends a line that a kill cut short
                self._manifest.flush()
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot be written to: {error.strerror or error}; give another --out"
            ) from error
        return self

    def _lock(self) -> None:
        """The kernel drops this lock with the process, however it ends."""
        if fcntl is None:
            return
        self._directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            raise UsageError(f"{self.path}: another run is writing there; wait for it or give another --out") from None
        except OSError:  # a network disk without locks
            return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._manifest.close()
            if kind is None and not self._lost():
                self._compact()
        except (OSError, ImageError):
            pass  # a full disk has been reported by then, and the lines that are there serve the next run
        finally:
            self._close()

    def _close(self) -> None:
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    def _compact(self) -> None:
        """One line a result, in order of names: the same bytes whatever happened on the way."""
        write_bytes(
            self.path / MANIFEST, (entry.line(name) for name, entry in sorted(self._entries.items())), self.path
        )

    def state(self, name: str, target: Path) -> State:
        """What lies at the target; FINISHED only says that the model and settings agree: see `made_of`.

        Raises ImageError where that cannot be told, as of a name that is too long.
        """
        entry = self._entries.get(name)
        try:
            plain = stat.S_ISREG(target.lstat().st_mode)  # a FIFO in its place would be waited for
            if entry is None or not plain or digest(target.read_bytes()) != entry.result:
                return State.FOREIGN
        except FileNotFoundError:
            return State.ABSENT
        except OSError as error:
            raise ImageError(f"{target}: cannot be written: {error.strerror or error}") from error
        return State.FINISHED if entry.made_by == self._made_by else State.OUTDATED

    def claim(self, name: str, target: Path) -> None:
        """To be called for each result once. Raises ImageError where its file is another's under a like name."""
        if not self.folds_names:
            return
        other = self._claimed.setdefault(unicodedata.normalize("NFC", str(target)).casefold(), name)
        if other != name:
            raise ImageError(f"{name}: its result would replace that of {other} on this disk; rename one of them")

    def made_of(self, name: str, source: bytes) -> bool:
        """Whether the recorded result of that name was made of content with this digest."""
        entry = self._entries.get(name)
        return entry is not None and entry.source == source

    def write(self, name: str, target: Path, source: bytes, content: bytes) -> None:
        """Record and write one result. Raises ImageError, as OutputLostError where no other could be written."""
        if self._lost():
            raise OutputLostError(f"{target}: cannot be written: the output directory was moved or removed")
        entry = _Entry(source, self._made_by, digest(content))
        try:
            self._manifest.write(entry.line(name))
            self._manifest.flush()
            os.fsync(self._manifest.fileno())  # a power cut must not leave the result without its line either
        except OSError as error:
            raise OutputLostError(f"{target}: cannot be written: {error.strerror or error}") from error
        if target.parent != self.path and target.parent not in self._cleaned:
            self._cleaned.add(target.parent)
            remove_temporaries(target.parent)
        write_bytes(target, content, root=self.path)  # a disk that is unmounted at this moment is not written beside
        self._entries[name] = entry

    def _lost(self) -> bool:
        """Whether the path no longer leads to the directory that was entered."""
        if self._directory is None:
            return not self.path.is_dir()
        try:
            now, entered = self.path.stat(), os.fstat(self._directory)
        except OSError:
            return True
        return (now.st_dev, now.st_ino) != (entered.st_dev, entered.st_ino)


def _read_manifest(path: Path) -> dict[str, _Entry]:
    """The last line of each name. Lines that a kill cut short are passed over."""
    entries: dict[str, _Entry] = {}
    if not path.exists():
        return entries
    with path.open("rb") as lines:
        for line in lines:
            try:
                content = json.loads(line)
                sums = (bytes.fromhex(content[key]) for key in ("source", "made_by", "result"))
                entries[str(content["name"])] = _Entry(*sums)
            except (ValueError, KeyError, TypeError):
                continue
    return entries
