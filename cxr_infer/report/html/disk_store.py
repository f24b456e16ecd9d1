"""Bytes that a long run keeps for its report, on disk, so that memory stays flat."""

from __future__ import annotations

import contextlib
import tempfile

from cxr_infer.errors import ImageError

SLACK = 16_000_000  # bytes of dropped content that may lie in the file before it is made anew


class DiskStore:
    """Contents by number in an unnamed temporary file, which no end of the process leaves behind; closed by `close`."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._places: dict[int, tuple[int, int]] = {}  # number -> start and length
        self._end = 0
        self._next = 0

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk, told before
            self._file.close()

    def __len__(self) -> int:
        """Bytes in the file, dropped ones among them."""
        return self._end

    def add(self, content: bytes) -> int:
        """The number by which to read it. Raises ImageError where the file cannot grow."""
        number, self._next = self._next, self._next + 1
        try:
            self._append(number, content)
        except OSError as error:
            raise ImageError(
                f"the report cannot be kept: {error.strerror or error}; set TMPDIR to a disk with space"
            ) from error
        return number

    def read(self, number: int) -> bytes:
        start, length = self._places[number]
        self._file.seek(start)
        return self._file.read(length)

    def drop(self, number: int) -> None:
        del self._places[number]
        if self._end - sum(length for _, length in self._places.values()) > SLACK:
            self._move_together()

    def _append(self, number: int, content: bytes) -> None:
        self._file.seek(self._end)
        self._file.write(content)
        self._places[number] = (self._end, len(content))
        self._end += len(content)

    def _move_together(self) -> None:
        """Move what is left to the front, in order, so that nothing is overwritten before it was read."""
        order = sorted(self._places, key=lambda number: self._places[number])
        self._end = 0
        for number in order:
            self._append(number, self.read(number))
        self._file.truncate(self._end)
