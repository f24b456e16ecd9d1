"""Facts about a million files, looked up in a table of SQLite's in a private file, which it deletes itself."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Iterator

from cxr_infer.errors import UsageError


class PrivateTable:
    """To be filled and asked from any thread; the memory is the same however much there is.

    what: it holds, for messages. Its methods raise UsageError where the file cannot grow.
    """

    def __init__(self, what: str, columns: str) -> None:
        self._what = what
        self._lock = threading.Lock()  # results are looked up in one thread and written in another
        self._connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self.close = weakref.finalize(self, self._connection.close)
        with self._table() as table:
            table.execute("PRAGMA journal_mode = OFF")
            table.execute(f"CREATE TABLE entries ({columns}) WITHOUT ROWID")

    @contextlib.contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._connection
        except sqlite3.Error as error:
            raise UsageError(f"{self._what} cannot be kept: {error}; set TMPDIR elsewhere") from error


def as_key(text: str) -> bytes:
    """Sorts as the text does, also where that is a name of a file and no text."""
    return text.encode("utf-8", "surrogatepass")


def from_key(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")
