"""Read the body of a STOW-RS request, sized or chunked, part by part in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any, BinaryIO, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

CHUNK = 1 << 16  # bytes
MOST_LINE = 256  # bytes, of a chunk's size line and of a trailer
MOST_TRAILERS = 16
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,12}")


class HttpError(Exception):
    """A request that ends with this status. headers: extra headers of the response."""

    def __init__(self, status: HTTPStatus, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}


@dataclass(frozen=True)
class MediaType:
    """name: in lower case. boundary, type: parameters of multipart/related; empty if missing."""

    name: str
    boundary: str
    type: str


def media_type(text: str) -> MediaType:
    """Parse a Content-Type header (RFC 9110 8.3.1); all fields are empty if it is invalid."""
    message = Message()
    message["Content-Type"] = text
    try:
        inner = message.get_param("type", "")
        boundary = message.get_boundary("").encode("latin-1").decode("latin-1")  # the parser accepts latin-1
    except (TypeError, ValueError):  # parameters that contradict each other (RFC 2231), or cannot be in a body
        return MediaType("", "", "")
    return MediaType(message.get_content_type(), boundary, str(inner).lower())


def sized_blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield a body of `size` bytes. Raises HttpError if the connection ends early."""
    while size:
        block = file.read(min(size, CHUNK))
        if not block:
            raise HttpError(HTTPStatus.BAD_REQUEST, "the body is cut off")
        size -= len(block)
        yield block


def chunked_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a chunked body (RFC 9112 7.1). Raises HttpError if it is malformed."""
    while size := _chunk_size(file):
        yield from sized_blocks(file, size)
        if file.read(2) != b"\r\n":
            raise HttpError(HTTPStatus.BAD_REQUEST, "a chunk is longer than declared")
    for _ in range(MOST_TRAILERS):
        if file.readline(MOST_LINE) in (b"\r\n", b"\n", b""):
            return
    raise HttpError(HTTPStatus.BAD_REQUEST, "too many trailers")


def _chunk_size(file: BinaryIO) -> int:
    line = file.readline(MOST_LINE)
    size, _, _ = line.partition(b";")
    if not line.endswith(b"\n") or not CHUNK_SIZE.fullmatch(size.strip()):
        raise HttpError(HTTPStatus.BAD_REQUEST, "a chunk has no length, or the body is cut off")
    return int(size, 16)


@dataclass
class Part:
    """A part of the body. kind: its Content-Type, empty if not given."""

    kind: str
    content: bytearray


class _Parts:
    """Collects what the parser finds. hold: called with the bytes needed by the current part."""

    def __init__(self, hold: Callable[[int], None]) -> None:
        self._hold = hold
        self.complete: list[Part] = []
        self.ended = False
        self._part = Part("", bytearray())
        self._field, self._value = bytearray(), bytearray()

    def on_part_begin(self) -> None:
        self._part = Part("", bytearray())

    def on_header_begin(self) -> None:
        self._field, self._value = bytearray(), bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._field.strip().lower() == b"content-type":
            self._part.kind = self._value.decode("latin-1").strip()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._hold(len(self._part.content) + end - start)
        self._part.content += memoryview(data)[start:end]

    def on_part_end(self) -> None:
        self.complete.append(self._part)

    def on_end(self) -> None:
        self.ended = True


def parts(blocks: Iterable[bytes], boundary: str, hold: Callable[[int], None]) -> Iterator[Part]:
    """Yield each complete part (RFC 2046 5.1). Raises HttpError if the body is malformed or cut off.

    hold: called with the bytes that the current part needs, before they are stored; it raises if they are too many.
    """
    found = _Parts(hold)
    names = [name for name in dir(found) if name.startswith("on_")]
    try:
        parser = MultipartParser(boundary, cast(Any, {name: getattr(found, name) for name in names}))
        for block in blocks:
            parser.write(block)
            yield from found.complete
            found.complete.clear()
    except FormParserError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "not a multipart body with this boundary") from error
    if not found.ended:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the last part is cut off")
