"""Samples -> a JPEG Lossless stream (ITU-T T.81, Annex H): first-order prediction from the left, one table, one scan.

No library that is kept up writes this process for Python. Every decoder of it reads what is written here: predictor 1
is all that DICOM's most common lossless transfer syntax allows (PS3.5 A.4.2).
"""

from __future__ import annotations

import heapq
import struct
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxr_infer.formats.dicom.lossless_jpeg import LONGEST_CODE, WIDE
from cxr_infer.imaging.pixels import row_strips

CATEGORIES = 17  # of differences, by their bits, 0 to 16 (T.81, table H.2)
WORD = 32  # bits

Differences: TypeAlias = NDArray[np.int64]


def encode_lossless(samples: NDArray[np.unsignedinteger], precision: int) -> bytes:
    """A stream of (H, W) samples of so many bits, 2 to 16, H and W at most 65535."""
    height, width = samples.shape
    counts = np.zeros(CATEGORIES, np.int64)
    for strip in row_strips(height):
        counts += np.bincount(_categories(_differences(samples, strip, precision)).ravel(), minlength=CATEGORIES)
    lengths = _code_lengths(counts)
    order = sorted((length, category) for category, length in enumerate(lengths) if length)
    table = bytes(np.bincount([length for length, _ in order], minlength=LONGEST_CODE + 1)[1:].tolist())
    table += bytes(category for _, category in order)
    frame = struct.pack(">HBHHB3B", 11, precision, height, width, 1, 1, 0x11, 0)
    scan = struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, 0)
    data = _entropy_coded(samples, precision, _codes(order), np.array(lengths), counts)
    head = b"\xff\xd8\xff\xc3" + frame + b"\xff\xc4" + struct.pack(">HB", 3 + len(table), 0) + table
    return head + b"\xff\xda" + scan + data + b"\xff\xd9"


def _differences(samples: NDArray[np.unsignedinteger], rows: slice, precision: int) -> Differences:
    """What the predictor leaves of some rows, in -32767..32768 (T.81, H.1.2.1)."""
    part = samples[rows].astype(np.int64)
    predicted = np.empty_like(part)
    predicted[:, 1:] = part[:, :-1]
    above = samples[rows.start - 1 : rows.stop - 1, 0] if rows.start else [1 << precision - 1, *part[:-1, 0].tolist()]
    predicted[:, 0] = above
    return (part - predicted + 32767) % 65536 - 32767


def _categories(differences: Differences) -> Differences:
    """Bits of each difference's magnitude."""
    return np.frexp(np.abs(differences).astype(np.float64))[1].astype(np.int64)


def _code_lengths(counts: Differences) -> list[int]:
    """Bits of the code of each category, 0 of those that do not occur; Huffman's, none above 16 (T.81, K.2).

    One code more is counted, as rare as can be, so that no other consists of ones alone.
    """
    weights = [int(count) for count in counts] + [1]
    while True:
        lengths = [0] * len(weights)
        nodes = [(weight, [symbol]) for symbol, weight in enumerate(weights) if weight]
        heapq.heapify(nodes)
        while len(nodes) > 1:
            (low, left), (high, right) = heapq.heappop(nodes), heapq.heappop(nodes)
            for symbol in left + right:
                lengths[symbol] += 1
            heapq.heappush(nodes, (low + high, left + right))
        if max(lengths) <= LONGEST_CODE:
            return lengths[:-1]
        weights = [-(-weight // 2) for weight in weights]


def _codes(order: list[tuple[int, int]]) -> Differences:
    """The code of each category, from lengths and categories in ascending order (T.81, Annex C)."""
    codes = np.zeros(CATEGORIES, np.int64)
    code, last = 0, 0
    for length, category in order:
        code <<= length - last
        codes[category] = code
        code, last = code + 1, length
    return codes


def _entropy_coded(
    samples: NDArray[np.unsignedinteger], precision: int, codes: Differences, lengths: Differences, counts: Differences
) -> bytes:
    """Codes and further bits, one after the other, the last byte filled with ones, zeros stuffed after each FF."""
    further = np.arange(CATEGORIES)
    further[WIDE] = 0
    total = int((counts * (lengths + further)).sum())
    words = np.zeros(total // WORD + 2, np.uint64)
    begin = 0
    for strip in row_strips(len(samples)):
        differences = _differences(samples, strip, precision).ravel()
        categories = _categories(differences)
        size = further[categories]
        bits = (differences - (differences < 0)) & (np.int64(1) << size) - 1
        ends = begin + np.cumsum(lengths[categories] + size)
        starts = np.concatenate(([begin], ends[:-1]))
        begin = int(ends[-1])
        # each in a window of two words from that in which it begins; sums of what does not overlap are exact in floats
        shifted = (codes[categories] << size | bits).astype(np.uint64) << (
            2 * WORD - ends + starts // WORD * WORD
        ).astype(np.uint64)
        first = int(starts[0]) // WORD
        place = starts // WORD - first
        for offset, half in enumerate((shifted >> np.uint64(WORD), shifted & np.uint64((1 << WORD) - 1))):
            summed = np.bincount(place, half.astype(np.float64)).astype(np.uint64)
            words[first + offset : first + offset + len(summed)] += summed
    packed = bytearray(words.astype(">u4").tobytes()[: -(-total // 8)])
    packed[-1] |= (1 << -total % 8) - 1
    return bytes(packed).replace(b"\xff", b"\xff\x00")
