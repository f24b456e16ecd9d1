"""Decode RLE Lossless (PS3.5, Annex G): PackBits, one segment per byte of a word, the most significant byte first."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

SEGMENTS = 15  # at most; the header has one word more
LITERAL = 128  # control bytes below it start a literal run, above it a replicate run


class DamagedRunsError(ValueError):
    """Runs end before the last pixel, or the number of segments does not match the word size."""


def decode_runs(frame: bytes, count: int, word: int) -> tuple[NDArray[np.uint8], bool]:
    """Decode a frame to (count, word) uint8, the bytes of little-endian words; also return whether it was over-long.

    count: number of pixels. word: bytes per pixel. Bytes after the last pixel of a segment are ignored; a segment is
    over-long if there is more than one such byte. Raises DamagedRunsError.
    """
    try:
        segments, *starts = struct.unpack_from(f"<{1 + SEGMENTS}I", frame)
    except struct.error as error:
        raise DamagedRunsError("ends within its header") from error
    if segments != word:
        raise DamagedRunsError(f"{segments} segments for words of {word} bytes")
    planes, padded = np.empty((count, word), np.uint8), False
    for index, start in enumerate(starts[:segments]):
        end = starts[index + 1] if index + 1 < segments else len(frame)
        unpacked, used = _unpacked(frame[start:end], count)
        planes[:, word - 1 - index] = np.frombuffer(unpacked, np.uint8)
        padded = padded or end - start - used > 1
    return planes, padded


def _unpacked(segment: bytes, count: int) -> tuple[bytes, int]:
    """Unpack `count` bytes of a segment, and return the number of its bytes that were used."""
    unpacked, at = bytearray(), 0
    while len(unpacked) < count:
        if at + 1 >= len(segment):
            raise DamagedRunsError("ends before its last pixel")
        run = segment[at]
        if run < LITERAL:
            unpacked += segment[at + 1 : at + run + 2]
            at += run + 2
        elif run > LITERAL:
            unpacked += segment[at + 1 : at + 2] * (257 - run)
            at += 2
        else:
            at += 1
    return bytes(unpacked[:count]), at
