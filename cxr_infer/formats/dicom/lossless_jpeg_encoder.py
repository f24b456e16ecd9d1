"""Encode JPEG Lossless (ITU-T T.81, Annex H): first-order prediction (predictor 1), one Huffman table, one scan.

No maintained Python library writes this process. Every decoder reads predictor 1, the only one that DICOM's most common
lossless transfer syntax allows (PS3.5 A.4.2).
"""

from __future__ import annotations

import heapq
import struct
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxr_infer.formats.dicom.lossless_jpeg import LONGEST_CODE, WIDE
from cxr_infer.imaging.pixels import row_strips

CATEGORIES = 17  # of differences: 0 to 16 bits (T.81, table H.2)
WORD = 32  # bits

Differences: TypeAlias = NDArray[np.int64]


def encode_lossless(samples: NDArray[np.unsignedinteger], precision: int) -> bytes:
    """Encode samples.

    samples: (H, W) uint8 or uint16, H and W at most 65535. precision: bits per sample, 2 to 16.
    """
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
    """Return the prediction differences of some rows, in -32767..32768 (T.81, H.1.2.1)."""
    part = samples[rows].astype(np.int64)
    predicted = np.empty_like(part)
    predicted[:, 1:] = part[:, :-1]
    above = samples[rows.start - 1 : rows.stop - 1, 0] if rows.start else [1 << precision - 1, *part[:-1, 0].tolist()]
    predicted[:, 0] = above
    return (part - predicted + 32767) % 65536 - 32767


def _categories(differences: Differences) -> Differences:
    """Return the number of bits of each difference's magnitude."""
    return np.frexp(np.abs(differences).astype(np.float64))[1].astype(np.int64)


def _code_lengths(counts: Differences) -> list[int]:
    """Return the Huffman code length of each category, at most 16 bits, 0 for unused ones (T.81, K.2).

    An extra symbol with count 1 reserves the code of all ones.
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
    """Return the code of each category. order: (length, category), ascending (T.81, Annex C)."""
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
    """Concatenate codes and additional bits, pad the last byte with ones, and stuff a zero byte after each FF."""
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
        # place each code in the two words at its start; the bits do not overlap, so sums in floats are exact
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
