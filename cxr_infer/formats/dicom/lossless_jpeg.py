"""Decode JPEG Lossless (ITU-T T.81, Annex H): sequential Huffman, one component, 2 to 16 bits, all predictors.

Differences are added modulo 2^16 and samples kept modulo 2^P, so that streams with wrapped differences (T.81, H.1.2.1)
decode correctly. Some vendors write such streams, and common libraries return garbage for them without an error.

Two steps are vectorised for speed. The code length at every bit position of a chunk comes from a table, and the walk
over the codes hops 16 at a time. Samples are rebuilt one anti-diagonal at a time, since each depends only on its left,
upper and upper-left neighbours.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

START, LOSSLESS_FRAME, HUFFMAN_TABLES, SCAN, RESTART_INTERVAL = 0xD8, 0xC3, 0xC4, 0xDA, 0xDD
MARKERS_WITHOUT_SEGMENT = frozenset({0x01, START, *range(0xD0, 0xD8)})
END_OF_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in entropy-coded data, FF is followed by 00 or RSTn
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
FILL, STUFFED = b"\xff", b"\xff\x00"  # fill bytes before a marker; FF within entropy-coded data
LONGEST_CODE = 16  # bits
WIDE = 16  # category of the difference 32768, which has no additional bits
BYTES_AT_ONCE = 1 << 13  # per chunk, so that its tables fit into the CPU cache
DOUBLINGS = 4  # the walk hops 2^4 = 16 codes at a time
BROKEN_CODE = 255  # step for invalid codes; longer than any code with its additional bits

SampleValues = NDArray[np.uint16]


class DamagedJpegError(ValueError):
    """A stream violates T.81 or is truncated."""


@dataclass(frozen=True)
class _Codes:
    """A Huffman table, looked up by the next 16 bits. Each (65536,) uint8.

    lengths: bits of the code. categories: additional bits of the difference, 16 means none. steps: sum of both.
    """

    lengths: NDArray[np.uint8]
    categories: NDArray[np.uint8]
    steps: NDArray[np.uint8]


@dataclass
class _Headers:
    """Contents of the segments before the entropy-coded data."""

    rows: int = 0
    columns: int = 0
    precision: int = 0
    components: int = 0
    interval: int = 0  # samples between restart markers, 0 without them
    tables: dict[int, _Codes] = field(default_factory=dict)
    predictor: int = 0
    shift: int = 0  # point transform: number of dropped low bits
    codes: _Codes | None = None
    data: int = 0  # offset of the entropy-coded data


def decode_lossless(frame: bytes) -> tuple[SampleValues, int]:
    """Decode a stream to (H, W) uint16 samples, and return their precision in bits.

    Raises DamagedJpegError if it is damaged, truncated, or not JPEG Lossless with one component.
    """
    try:
        headers = _headers(frame)
    except (struct.error, IndexError) as error:
        raise DamagedJpegError("ends within its headers") from error
    if headers.codes is None or headers.components != 1 or not headers.rows or not headers.columns:
        raise DamagedJpegError("not one lossless component")
    if not 1 <= headers.predictor <= 7 or not 2 <= headers.precision <= 16 or headers.shift >= headers.precision:
        raise DamagedJpegError("has a predictor or precision that T.81 does not define")
    ended = END_OF_SCAN.search(frame, headers.data)
    data = frame[headers.data : ended.start() if ended else None]
    samples = np.empty((headers.rows, headers.columns), np.uint16)
    rows = _rows_between_restarts(headers)
    starts = range(0, headers.rows, rows)
    parts = RESTART.split(data) if headers.interval else [data]
    if len(parts) < len(starts):
        raise DamagedJpegError("lacks restart markers")
    for start, part in zip(starts, parts, strict=False):
        stop = min(start + rows, headers.rows)
        count = (stop - start) * headers.columns
        differences = _differences(part.rstrip(FILL).replace(STUFFED, b"\xff"), headers.codes, count)
        bits = headers.precision - headers.shift
        rebuilt = _rebuilt(differences.reshape(-1, headers.columns), headers.predictor, bits)
        samples[start:stop] = rebuilt << np.uint16(headers.shift)
    return samples, headers.precision


def _rows_between_restarts(headers: _Headers) -> int:
    if not headers.interval:
        return headers.rows
    rows, rest = divmod(headers.interval, headers.columns)
    if rest:
        raise DamagedJpegError("restarts within a row, which T.81 forbids")
    return rows


def _headers(frame: bytes) -> _Headers:
    """Parse the segments up to the first scan (T.81, B.2). Raises struct.error or IndexError if they are truncated."""
    headers, at = _Headers(), 0
    while headers.codes is None:
        if frame[at] != 0xFF:
            raise DamagedJpegError("has no marker where one belongs")
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in MARKERS_WITHOUT_SEGMENT:
            at += 2
        else:
            end = at + 2 + int(struct.unpack_from(">H", frame, at + 2)[0])
            _read_segment(headers, marker, frame[at + 4 : end])
            headers.data = at = end
    return headers


def _read_segment(headers: _Headers, marker: int, segment: bytes) -> None:
    if marker == LOSSLESS_FRAME:
        fields = struct.unpack_from(">BHHB", segment)
        headers.precision, headers.rows, headers.columns, headers.components = fields
    elif marker == HUFFMAN_TABLES:
        while segment:
            counts = segment[1 : 1 + LONGEST_CODE]
            end = 1 + LONGEST_CODE + sum(counts)
            headers.tables[segment[0]] = _codes(counts, segment[1 + LONGEST_CODE : end])
            segment = segment[end:]
    elif marker == RESTART_INTERVAL:
        headers.interval = struct.unpack_from(">H", segment)[0]
    elif marker == SCAN:
        components, _, table, headers.predictor, _, low = struct.unpack_from(">6B", segment)
        headers.shift = low & 15
        if components != 1 or table >> 4 not in headers.tables:
            raise DamagedJpegError("has a scan of several components, or without its Huffman table")
        headers.codes = headers.tables[table >> 4]


def _codes(counts: bytes, values: bytes) -> _Codes:
    """Build a table from the number of codes of each length, and their categories (T.81, Annex C)."""
    lengths, categories = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.uint8)
    steps = np.full(1 << 16, BROKEN_CODE, np.uint8)
    first, remaining = 0, iter(values)
    for length, count in enumerate(counts, 1):
        span = 1 << LONGEST_CODE - length
        for _, category in zip(range(count), remaining, strict=False):
            if category > WIDE or first + span > 1 << 16:
                raise DamagedJpegError("has an invalid Huffman table")
            places = slice(first, first + span)
            lengths[places], categories[places] = length, category
            steps[places] = length + category % WIDE
            first += span
    return _Codes(lengths, categories, steps)


def _differences(data: bytes, codes: _Codes, count: int) -> SampleValues:
    """Decode `count` differences modulo 2^16 from unstuffed data. Raises DamagedJpegError if there are fewer."""
    found = np.empty(count, np.uint16)
    padded = np.frombuffer(data + b"\xff" * 8, np.uint8)
    done, position = 0, 0  # differences, and the bit at which the next code begins
    for start in range(0, len(data), BYTES_AT_ONCE):
        stop = min(start + BYTES_AT_ONCE, len(data))
        places, position = _walk(padded[start : stop + 2], codes, position - 8 * start)
        position += 8 * start
        places = places[: count - done]
        if places.size:
            values, end = _values(padded, codes, places + 8 * start)
            if end > 8 * len(data):
                break
            found[done : done + values.size] = values
            done += values.size
        if done == count:
            return found
    raise DamagedJpegError("ends before its last pixel")


def _walk(chunk: NDArray[np.uint8], codes: _Codes, position: int) -> tuple[NDArray[np.int64], int]:
    """Return the bit positions of the codes that begin in a chunk, and of the first code after it.

    chunk: followed by the first two bytes of the next chunk. position: bit at which the first code begins.
    """
    three = chunk[:-2].astype(np.intp) << 16 | chunk[1:-1].astype(np.intp) << 8 | chunk[2:]
    windows = three[:, None] >> np.arange(8, 0, -1) & 0xFFFF
    steps = codes.steps.take(windows).ravel()
    count = steps.size
    after = np.arange(count + BROKEN_CODE + 1)  # end of a code at each bit; beyond the chunk, the bit itself
    after[:count] += steps
    far = after
    for _ in range(DOUBLINGS):
        far = far.take(far)
    hops, anchors = memoryview(far.data), []
    while position < count:
        anchors.append(position)
        position = hops[position]
    places = np.empty((1 << DOUBLINGS, len(anchors)), np.int64)
    places[0] = anchors
    for index in range(1, len(places)):
        places[index] = after.take(places[index - 1])
    in_order = places.T.ravel()
    return in_order[in_order < count], position


def _values(data: NDArray[np.uint8], codes: _Codes, places: NDArray[np.int64]) -> tuple[SampleValues, int]:
    """Decode the differences at these bits (T.81, H.1.2.2), modulo 2^16, and return the bit after the last."""
    windows = _bits(data, places, np.uint32(16))
    categories = codes.categories[windows]
    if np.any(codes.steps[windows] == BROKEN_CODE):
        raise DamagedJpegError("has bits that are not a valid code")
    size = (categories % WIDE).astype(np.uint32)
    extra = _bits(data, places + codes.lengths[windows], size).astype(np.int64)
    negative = extra < np.int64(1) << size.astype(np.int64) >> 1
    values = np.where(negative, extra - (np.int64(1) << size.astype(np.int64)) + 1, extra)
    values[categories == WIDE] = 1 << 15
    return values.astype(np.uint16), int(places[-1]) + int(codes.steps[windows[-1]])


def _bits(
    data: NDArray[np.uint8], places: NDArray[np.int64], count: NDArray[np.uint32] | np.uint32
) -> NDArray[np.uint32]:
    """Read `count` bits, at most 16, at each bit position."""
    at = places >> 3
    three = data[at].astype(np.uint32) << 16 | data[at + 1].astype(np.uint32) << 8 | data[at + 2]
    shifted: NDArray[np.uint32] = three >> (np.uint32(24) - (places & 7).astype(np.uint32) - count)
    return shifted & ((np.uint32(1) << count) - np.uint32(1))


def _rebuilt(differences: SampleValues, predictor: int, bits: int) -> SampleValues:
    """Reconstruct (H, W) samples of this many bits from their differences (T.81, H.1.2.1)."""
    mask = np.uint16((1 << bits) - 1)
    samples = differences.copy()
    samples[:1, :1] += np.uint16(1 << bits - 1)
    samples[:, 0] = np.cumsum(samples[:, 0], dtype=np.uint16)
    if predictor == 1:
        return np.cumsum(samples, axis=1, dtype=np.uint16) & mask
    samples[0] = np.cumsum(samples[0], dtype=np.uint16)
    samples[:, 0] &= mask
    samples[0] &= mask
    rows, columns = samples.shape
    flat = samples.reshape(-1).astype(np.int32)
    if columns > 1:
        for diagonal in range(2, rows + columns - 1):  # row + column of its samples
            top, bottom = max(1, diagonal - columns + 1), min(diagonal - 1, rows - 1)
            _rebuild_diagonal(flat, diagonal, top, bottom, columns, predictor, int(mask))
    return flat.astype(np.uint16).reshape(rows, columns)


def _rebuild_diagonal(
    flat: NDArray[np.int32], diagonal: int, top: int, bottom: int, columns: int, predictor: int, mask: int
) -> None:
    """Reconstruct the samples of an anti-diagonal between two rows, in place (T.81, table H.1)."""
    step = columns - 1
    first, last = diagonal + top * step, diagonal + bottom * step

    def neighbours(back: int) -> NDArray[np.int32]:
        return flat[first - back : last - back + 1 : step]

    left, above = neighbours(1), neighbours(columns)
    if predictor == 2:
        predicted = above
    elif predictor == 7:
        predicted = left + above >> 1
    else:
        corner = neighbours(columns + 1)
        if predictor == 3:
            predicted = corner
        elif predictor == 4:
            predicted = left + above - corner
        elif predictor == 5:
            predicted = left + (above - corner >> 1)
        else:
            predicted = above + (left - corner >> 1)
    samples = neighbours(0)
    samples += predicted
    samples &= mask
