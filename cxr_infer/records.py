"""What made each result of an output: lines in files there, looked up in a table that is on disk when it is large."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cxr_infer.errors import UsageError
from cxr_infer.untrusted_json import MOST_BYTES, parse_object


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a record file. The first halves of SHA-256 sums."""

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


def parse_line(line: bytes) -> tuple[str, Entry] | None:
    """The name and the entry of a line, None for one that a kill cut short or that is no such line."""
    try:
        content = parse_object(line)
        sums = (bytes.fromhex(content[key]) for key in ("source", "made_by", "result"))
        return str(content["name"]), Entry(*sums)
    except (ValueError, KeyError, TypeError):
        return None


def read_lines(path: Path) -> Iterator[tuple[str, Entry]]:
    """The entries of a record file that may not exist, as they were written."""
    if path.exists():
        with path.open("rb") as lines:
            # a line without an end comes in parts, none of which says anything
            for line in iter(lambda: lines.readline(MOST_BYTES), b""):
                if found := parse_line(line):
                    yield found


class Records:
    """Entries by name. Of one name there may be several: a line is written before its result, and a run may be killed
    between the two, or two files tell of the same name. `keep_only` says which one was found true.

    A table of SQLite's in a private file, which it deletes itself: the memory is the same for a million entries.
    Raises UsageError where that file cannot grow.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # results are looked up in one thread and written in another
        self._connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        with self._table() as table:
            table.execute("PRAGMA journal_mode = OFF")
            table.execute(
                "CREATE TABLE entries (name BLOB, result BLOB, source BLOB, made_by BLOB, own INTEGER,"
                " PRIMARY KEY (name, result)) WITHOUT ROWID"
            )

    @contextlib.contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._connection
        except sqlite3.Error as error:
            raise UsageError(f"the records of results cannot be kept: {error}; set TMPDIR elsewhere") from error

    def close(self) -> None:
        self._connection.close()

    def add(self, entries: Iterable[tuple[str, Entry]], *, own: bool) -> None:
        """own: whether they belong into this run's record file."""
        rows = ((_key(name), entry.result, entry.source, entry.made_by, own) for name, entry in entries)
        with self._table() as table:
            table.execute("BEGIN")
            table.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", rows)
            table.execute("COMMIT")

    def of(self, name: str) -> list[Entry]:
        """All that is said of that name."""
        question = "SELECT source, made_by, result FROM entries WHERE name = ? ORDER BY result"
        with self._table() as table:
            return [Entry(*row) for row in table.execute(question, (_key(name),))]

    def replace(self, name: str, entries: list[Entry]) -> None:
        """Forget what is said of that name, and believe this; it belongs into this run's record file."""
        with self._table() as table:
            table.execute("DELETE FROM entries WHERE name = ?", (_key(name),))
        self.add([(name, entry) for entry in entries], own=True)

    def keep_only(self, name: str, result: bytes) -> None:
        """Forget what else is said of that name."""
        with self._table() as table:
            table.execute("DELETE FROM entries WHERE name = ? AND result <> ?", (_key(name), result))

    def own_lines(self) -> Iterator[bytes]:
        """The lines of this run's record file, in order of names: the same bytes whatever happened on the way."""
        question = "SELECT name, source, made_by, result FROM entries WHERE own ORDER BY name, result"
        with self._table() as table:
            for name, *sums in table.execute(question):
                yield Entry(*sums).line(name.decode("utf-8", "surrogatepass"))


def _key(name: str) -> bytes:
    """Sorts as the name does, also where that is no text."""
    return name.encode("utf-8", "surrogatepass")
