"""Records of how each result was made: JSON lines in the output, loaded into a table on disk."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

from cxr_infer.errors import UsageError
from cxr_infer.scratch import ScratchTable, as_key, from_key
from cxr_infer.untrusted_json import parse_object

DIGEST = 16  # bytes kept of each SHA-256; a run may have a million
SPACING, LONGEST_START = 8, 8**9  # bytes: checksums cover a result's first 1, 8, 64, ...
CRC = 4  # bytes
AT_ONCE = 1 << 20  # bytes
LONGEST_LINE = 1 << 17  # bytes: a path of 4096 characters, each escaped in 12, times two and more


def digest(content: bytes) -> bytes:
    """Return the first half of the SHA-256 of a content, its key in records."""
    return sha256(content).digest()[:DIGEST]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a record file.

    source: `digest` of the source. made_by: `digest` of model and settings. result: `digest` of the result. size: of
    the result, bytes. starts: CRC-32 of its first 1, 8, 64, ... bytes, concatenated. Early versions recorded neither
    size nor starts.
    """

    source: bytes
    made_by: bytes
    result: bytes
    size: int | None = None
    starts: bytes = b""

    @staticmethod
    def of(source: bytes, made_by: bytes, content: bytes) -> Entry:
        """Return the entry of a result. source: `digest` of the source. content: of the result."""
        return Entry(source, made_by, digest(content), len(content), starts_of(io.BytesIO(content)))

    @staticmethod
    def from_dict(content: dict[str, Any]) -> Entry:
        """Invert `to_dict`. Raises ValueError, KeyError or TypeError for invalid content."""
        size = content.get("size")
        if not (size is None or (type(size) is int and 0 <= size < 1 << 63)):
            raise ValueError("size")
        source, made_by, result = (bytes.fromhex(content[key]) for key in ("source", "made_by", "result"))
        return Entry(source, made_by, result, size, bytes.fromhex(content.get("starts", "")))

    def to_dict(self) -> dict[str, Any]:
        sums = {"source": self.source.hex(), "made_by": self.made_by.hex(), "result": self.result.hex()}
        return sums if self.size is None else {**sums, "size": self.size, "starts": self.starts.hex()}

    def line(self, name: str) -> bytes:
        return json.dumps({"name": name, **self.to_dict()}).encode() + b"\n"

    def may_be(self, size: int) -> bool:
        """Whether a file of this size, in bytes, can be this result."""
        return self.size is None or self.size == size

    def leaves(self, remains: Remains) -> bool:
        """Whether a file is this result, truncated or with zeros from some point on.

        Interrupted copies and failing disks leave such files, and replacing them loses no one's work. After the longest
        matching start, only zeros count as damage.
        """
        if self.size is None or remains.size > self.size:
            return False
        if remains.size < self.size and remains.starts == self.starts[: len(remains.starts)]:
            return True
        pairs = zip(_each(self.starts), _each(remains.starts), strict=False)
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return remains.written <= (SPACING ** (known - 1) if known else 0)


@dataclass(frozen=True)
class Remains:
    """A possibly damaged result. size: bytes. starts: see `starts_of`. written: bytes up to the last nonzero one."""

    size: int
    starts: bytes
    written: int

    @staticmethod
    def of(file: BinaryIO) -> Remains:
        """Examine a file from its start."""
        file.seek(0)
        starts = starts_of(file)
        file.seek(0)
        size = written = 0
        while block := file.read(AT_ONCE):
            end = len(block.rstrip(b"\0"))
            written = size + end if end else written
            size += len(block)
        return Remains(size, starts, written)


def _each(starts: bytes) -> list[bytes]:
    return [starts[at : at + CRC] for at in range(0, len(starts), CRC)]


def starts_of(file: BinaryIO) -> bytes:
    """Return the CRC-32 of the first 1, 8, 64, ... bytes, concatenated, up to the length of the file."""
    sums, at, end, crc = b"", 0, 1, 0
    while end <= LONGEST_START and (block := file.read(min(end - at, AT_ONCE))):
        at, crc = at + len(block), zlib.crc32(block, crc)
        if at == end:
            sums, end = sums + crc.to_bytes(CRC, "big"), end * SPACING
    return sums


def digest_of(file: BinaryIO) -> bytes:
    """Return the `digest` of a file from its current position."""
    summed = sha256()
    while block := file.read(AT_ONCE):
        summed.update(block)
    return summed.digest()[:DIGEST]


def parse_line(line: bytes) -> tuple[str, Entry] | None:
    """Return name and entry of a line; None if the line is truncated or not a record."""
    try:
        content = parse_object(line)
        return str(content["name"]), Entry.from_dict(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read_lines(file: BinaryIO, path: Path) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of a record file in file order. path: for messages.

    Raises UsageError for a line longer than any written by cxr-infer, such as gigabytes of zeros.
    """
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise UsageError(f"{path}: not a record file of cxr-infer (a line is too long); move it elsewhere")
        entry = parse_line(line)
        if entry is not None:
            yield entry


class Records(ScratchTable):
    """Entries by name, possibly several per name.

    A line is written before its result, so a killed run may leave a line without result, and several record files may
    name the same result. `keep_only` drops wrong entries.
    """

    def __init__(self) -> None:
        super().__init__(
            "the records of results",
            "(name BLOB, source BLOB, made_by BLOB, result BLOB, size INTEGER, starts BLOB, own INTEGER,"
            " PRIMARY KEY (name, result)) WITHOUT ROWID",
        )

    def add(self, entries: Iterable[tuple[str, Entry]], *, own: bool) -> None:
        """Add entries. own: whether they belong in this run's record file."""
        rows = ((as_key(name), e.source, e.made_by, e.result, e.size, e.starts, own) for name, e in entries)
        with self._table() as table:
            table.execute("BEGIN")
            table.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            table.execute("COMMIT")

    def of(self, name: str) -> list[Entry]:
        """Return all entries of a name."""
        question = "SELECT source, made_by, result, size, starts FROM entries WHERE name = ? ORDER BY result"
        with self._table() as table:
            return [Entry(*row) for row in table.execute(question, (as_key(name),))]

    def replace(self, name: str, entries: list[Entry]) -> None:
        """Replace all entries of a name by these, which belong in this run's record file."""
        with self._table() as table:
            table.execute("DELETE FROM entries WHERE name = ?", (as_key(name),))
        self.add([(name, entry) for entry in entries], own=True)

    def keep_only(self, name: str, result: bytes) -> None:
        """Drop all entries of a name except that of this result."""
        with self._table() as table:
            table.execute("DELETE FROM entries WHERE name = ? AND result <> ?", (as_key(name), result))

    def own_lines(self) -> Iterator[bytes]:
        """Yield the lines of this run's record file, sorted, so that equal records give equal bytes."""
        question = "SELECT name, source, made_by, result, size, starts FROM entries WHERE own ORDER BY name, result"
        for name, *facts in self._rows(question):
            yield Entry(*facts).line(from_key(name))
