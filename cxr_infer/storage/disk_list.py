"""Long lists on disk: filled once, read from any place on, of which few are in memory however many there are."""

from __future__ import annotations

import contextlib
import heapq
import json
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Generic, TypeVar

from cxr_infer.errors import UsageError

IN_MEMORY = 1 << 20  # bytes of a list; what is longer goes to an unnamed temporary file
READ_AT_ONCE = 1 << 16  # bytes
SORTED_AT_ONCE = 50_000  # names, in memory

T = TypeVar("T")


class DiskList(Generic[T]):
    """A list of texts, or of lists of texts. Add first, read after."""

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed with the list
        weakref.finalize(self, _close, self._file)
        self._count = 0
        for item in items:
            self.append(item)

    def __len__(self) -> int:
        return self._count

    def append(self, item: T) -> None:
        """Raises UsageError where the temporary file cannot grow."""
        try:
            self._file.write(json.dumps(item).encode() + b"\n")
        except OSError as error:
            raise UsageError(f"a list cannot be kept: {error.strerror or error}; set TMPDIR elsewhere") from error
        self._count += 1

    def __iter__(self) -> Iterator[T]:
        at = 0
        while True:
            self._file.seek(at)
            lines = self._file.readlines(READ_AT_ONCE)
            at = self._file.tell()
            if not lines:
                return
            yield from map(json.loads, lines)


def _close(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # a full disk, told before
        file.close()


def in_order(names: Iterable[str], at_once: int = SORTED_AT_ONCE) -> Iterator[str]:
    """The same names, sorted. However many there are, no more than `at_once` are in memory."""
    source = iter(names)
    first = sorted(islice(source, at_once))
    parts: list[Iterable[str]] = [first]
    while following := sorted(islice(source, at_once)):
        parts.append(DiskList(following))
    return iter(first) if len(parts) == 1 else heapq.merge(*parts)
