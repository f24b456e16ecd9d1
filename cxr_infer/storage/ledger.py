"""What made each result of an output: lines in files there, looked up in a table that is on disk when it is large."""

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
from cxr_infer.storage.scratch import ScratchTable, as_key, from_key
from cxr_infer.untrusted_json import parse_object

DIGEST = 16  # bytes of a SHA-256 that are kept, a million times
SPACING, LONGEST_START = 8, 8**9  # bytes: of a result the beginnings of 1, 8, 64, ... are known
CRC = 4  # bytes
AT_ONCE = 1 << 20  # bytes that are read
LONGEST_LINE = 1 << 17  # bytes: a path of 4096 characters, each escaped in 12, and twice as much besides


def digest(content: bytes) -> bytes:
    """The first half of the SHA-256 of some content, by which records know it."""
    return sha256(content).digest()[:DIGEST]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a record file. Of source, maker and result the first halves of SHA-256 sums.

    size: bytes of the result. starts: the CRC-32 of its first 1, 8, 64, ... bytes, one after the other. Both are
    unknown of results of the first versions.
    """

    source: bytes
    made_by: bytes
    result: bytes
    size: int | None = None
    starts: bytes = b""

    @staticmethod
    def of(source: bytes, made_by: bytes, content: bytes) -> Entry:
        """content: of the result."""
        return Entry(source, made_by, digest(content), len(content), starts_of(io.BytesIO(content)))

    @staticmethod
    def from_dict(content: dict[str, Any]) -> Entry:
        """Raises ValueError, KeyError or TypeError for what `to_dict` does not make."""
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
        """Whether a file of so many bytes can be this result."""
        return self.size is None or self.size == size

    def leaves(self, remains: Remains) -> bool:
        """Whether a file is what is left of the result, cut short or with zeros from some point on, as copies that were
        interrupted and disks that failed leave it: nobody's work is in it.

        Of what follows the longest beginning that is known nothing is said, unless it is zeros.
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
    """What may be left of a result. size: bytes. starts: as `starts_of` gives them. written: bytes up to the last that
    is not zero.
    """

    size: int
    starts: bytes
    written: int

    @staticmethod
    def of(file: BinaryIO) -> Remains:
        """A file from its beginning on."""
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
    """The CRC-32 of the first 1, 8, 64, ... bytes, one after the other, as far as there are as many."""
    sums, at, end, crc = b"", 0, 1, 0
    while end <= LONGEST_START and (block := file.read(min(end - at, AT_ONCE))):
        at, crc = at + len(block), zlib.crc32(block, crc)
        if at == end:
            sums, end = sums + crc.to_bytes(CRC, "big"), end * SPACING
    return sums


def digest_of(file: BinaryIO) -> bytes:
    """`digest` of what is left in a file, however long."""
    summed = sha256()
    while block := file.read(AT_ONCE):
        summed.update(block)
    return summed.digest()[:DIGEST]


def parse_line(line: bytes) -> tuple[str, Entry] | None:
    """The name and the entry of a line, None for one that a kill cut short or that is no such line."""
    try:
        content = parse_object(line)
        return str(content["name"]), Entry.from_dict(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read_lines(file: BinaryIO, path: Path) -> Iterator[tuple[str, Entry]]:
    """The entries of a record file, as they were written. path: for messages.

    Raises UsageError for a line that no run of ours can have written, as gigabytes of nothing are.
    """
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise UsageError(f"{path}: holds a line that is too long for a record of results; move it elsewhere")
        entry = parse_line(line)
        if entry is not None:
            yield entry


class Records(ScratchTable):
    """Entries by name. Of one name there may be several: a line is written before its result, and a run may be killed
    between the two, or two files tell of the same name. `keep_only` says which one was found true.
    """

    def __init__(self) -> None:
        super().__init__(
            "the records of results",
            "(name BLOB, source BLOB, made_by BLOB, result BLOB, size INTEGER, starts BLOB, own INTEGER,"
            " PRIMARY KEY (name, result)) WITHOUT ROWID",
        )

    def add(self, entries: Iterable[tuple[str, Entry]], *, own: bool) -> None:
        """own: whether they belong into this run's record file."""
        rows = ((as_key(name), e.source, e.made_by, e.result, e.size, e.starts, own) for name, e in entries)
        with self._table() as table:
            table.execute("BEGIN")
            table.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            table.execute("COMMIT")

    def of(self, name: str) -> list[Entry]:
        """All that is said of that name."""
        question = "SELECT source, made_by, result, size, starts FROM entries WHERE name = ? ORDER BY result"
        with self._table() as table:
            return [Entry(*row) for row in table.execute(question, (as_key(name),))]

    def replace(self, name: str, entries: list[Entry]) -> None:
        """Forget what is said of that name, and believe this; it belongs into this run's record file."""
        with self._table() as table:
            table.execute("DELETE FROM entries WHERE name = ?", (as_key(name),))
        self.add([(name, entry) for entry in entries], own=True)

    def keep_only(self, name: str, result: bytes) -> None:
        """Forget what else is said of that name."""
        with self._table() as table:
            table.execute("DELETE FROM entries WHERE name = ? AND result <> ?", (as_key(name), result))

    def own_lines(self) -> Iterator[bytes]:
        """The lines of this run's record file, in order of names: the same bytes whatever happened on the way."""
        question = "SELECT name, source, made_by, result, size, starts FROM entries WHERE own ORDER BY name, result"
        for name, *facts in self._rows(question):
            yield Entry(*facts).line(from_key(name))
