"""Temporary SQLite tables that spill to disk, so that memory stays constant however long the run.

Each table keeps at most IN_MEMORY bytes in memory. SQLite creates its file in TMPDIR, readable only by this user, and
unlinks it at once, so nothing is left when the process ends. Tables can be used from any thread.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from cxr_infer.errors import CxrError, UsageError

IN_MEMORY = 1 << 20  # bytes of a table; the rest is on disk
READ_AT_ONCE = 1000  # rows
SORTED_AT_ONCE = 50_000  # names, in memory

T = TypeVar("T")


class ScratchTable:
    """A temporary table named `entries`.

    what: its content, for messages. definition: SQL of its columns. error: raised if it cannot be written.
    """

    def __init__(self, what: str, definition: str, error: type[CxrError] = UsageError) -> None:
        self._what, self._error = what, error
        self._lock = threading.Lock()
        self._connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self.close = weakref.finalize(self, self._connection.close)
        with self._table() as table:
            table.execute("PRAGMA journal_mode = OFF")
            table.execute(f"PRAGMA cache_size = -{IN_MEMORY >> 10}")
            table.execute(f"CREATE TABLE entries {definition}")

    @contextlib.contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._connection
        except sqlite3.Error as error:
            message = f"cannot store {self._what}: {error}; set TMPDIR to a directory with free space"
            raise self._error(message) from error

    def _rows(self, question: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT in batches, between which the table is not locked."""
        with self._table() as table:
            cursor = table.execute(question)
        while True:
            with self._table():
                rows = cursor.fetchmany(READ_AT_ONCE)
            if not rows:
                return
            yield from rows


class DiskList(ScratchTable, Generic[T]):
    """An append-only list of JSON values. It can be iterated any number of times, even while it grows."""

    def __init__(
        self, items: Iterable[T] = (), *, what: str = "a list of files", error: type[CxrError] = UsageError
    ) -> None:
        super().__init__(what, "(place INTEGER PRIMARY KEY, item TEXT)", error)
        self._count = 0
        for item in items:
            self.append(item)

    def __len__(self) -> int:
        return self._count

    def append(self, item: T) -> None:
        with self._table() as table:
            table.execute("INSERT INTO entries (item) VALUES (?)", (json.dumps(item),))
        self._count += 1

    def __iter__(self) -> Iterator[T]:
        question = "SELECT place, item FROM entries WHERE place > ? ORDER BY place LIMIT ?"
        last = 0
        while True:
            with self._table() as table:
                rows = table.execute(question, (last, READ_AT_ONCE)).fetchall()
            if not rows:
                return
            yield from (json.loads(item) for _, item in rows)
            last = rows[-1][0]


class DiskStore(ScratchTable):
    """Blobs by number. The space of dropped ones is reused."""

    def __init__(self, what: str, error: type[CxrError] = UsageError) -> None:
        super().__init__(what, "(number INTEGER PRIMARY KEY, content BLOB)", error)

    @property
    def size(self) -> int:
        """Size of the table in bytes, free space included."""
        with self._table() as table:
            pages, bytes_each = (table.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
            return int(pages * bytes_each)

    def add(self, content: bytes) -> int:
        """Store a blob and return its number."""
        with self._table() as table:
            number = table.execute("INSERT INTO entries (content) VALUES (?)", (content,)).lastrowid
        assert number is not None, "an INSERT"
        return number

    def read(self, number: int) -> bytes:
        """Return a blob. Raises KeyError if it was dropped."""
        with self._table() as table:
            found = table.execute("SELECT content FROM entries WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise KeyError(number)
        return bytes(found[0])

    def drop(self, number: int) -> None:
        with self._table() as table:
            table.execute("DELETE FROM entries WHERE number = ?", (number,))


class _Names(ScratchTable):
    """Names that are sorted on disk."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__("a list of files", "(name BLOB)")
        with self._table() as table:
            table.execute("BEGIN")
            table.executemany("INSERT INTO entries VALUES (?)", ((as_key(name),) for name in names))
            table.execute("COMMIT")

    def __iter__(self) -> Iterator[str]:
        return (from_key(name) for (name,) in self._rows("SELECT name FROM entries ORDER BY name"))


def in_order(names: Iterable[str], at_once: int = SORTED_AT_ONCE) -> Iterator[str]:
    """Return the names sorted, with at most `at_once` of them in memory."""
    source = iter(names)
    first = sorted(islice(source, at_once))
    if len(first) < at_once:
        return iter(first)
    return iter(_Names(chain(first, source)))


def as_key(text: str) -> bytes:
    """Encode as UTF-8, which SQLite sorts as Python sorts text; file names that are not valid text are allowed."""
    return text.encode("utf-8", "surrogatepass")


def from_key(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")
