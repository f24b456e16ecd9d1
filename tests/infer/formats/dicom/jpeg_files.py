"""JPEG Lossless streams (ITU-T T.81, Annex H), encoded here: no installed library writes every depth and predictor."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

LENGTHS = (2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 10, 11)  # bits of the codes of size categories 0 to 16


def lossless_jpeg(
    samples: NDArray[np.integer],
    precision: int,
    predictor: int = 1,
    *,
    shift: int = 0,
    rows_between_restarts: int = 0,
    wraps: bool = False,
) -> bytes:
    """A stream of (H, W) samples of `precision` bits.

    shift: the point transform, the number of low bits dropped. wraps: encode differences plus or minus 2^precision
    wherever that has a code, as some vendors' encoders do (T.81, H.1.2.1).
    """
    kept = samples.astype(np.int64) >> shift
    height, width = kept.shape
    rows = rows_between_restarts or height
    interval = b"\xff\xdd" + struct.pack(">HH", 4, rows * width) if rows_between_restarts else b""
    stream = b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB3B", 11, precision, height, width, 1, 1, 0x11, 0)
    stream += _tables() + interval + b"\xff\xda" + bytes([0, 8, 1, 1, 0, predictor, 0, shift])
    for index, start in enumerate(range(0, height, rows)):
        part = kept[start : start + rows]
        differences = _differences(part, precision - shift, predictor)
        if wraps:
            longer = differences - np.where(differences > 0, 1, -1) * (1 << precision - shift)
            differences = np.where((differences != 0) & (np.abs(longer) < 1 << 15), longer, differences)
        marker = bytes((0xFF, 0xD0 + (index - 1) % 8)) if index else b""
        stream += marker + _entropy_coded(differences.ravel().tolist())
    return stream + b"\xff\xd9"


def _differences(samples: NDArray[np.int64], bits: int, predictor: int) -> NDArray[np.int64]:
    """Prediction residuals, in -32767..32768."""
    left, above, corner = (np.zeros_like(samples) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = samples[:, :-1], samples[:-1], samples[:-1, :-1]
    predicted = (
        left,
        above,
        corner,
        left + above - corner,
        left + (above - corner >> 1),
        above + (left - corner >> 1),
        left + above >> 1,
    )[predictor - 1].copy()
    predicted[0], predicted[1:, 0] = left[0], above[1:, 0]
    predicted[0, 0] = 1 << bits - 1
    wrapped = (samples - predicted + 32767) % 65536 - 32767
    return np.asarray(wrapped)


def _codes() -> list[tuple[int, int]]:
    """Code and length of each category (T.81, Annex C)."""
    codes, code, last = [], 0, LENGTHS[0]
    for length in LENGTHS:
        code <<= length - last
        codes.append((code, length))
        code, last = code + 1, length
    return codes


def _tables() -> bytes:
    counts = bytes(LENGTHS.count(length) for length in range(1, 17))
    return b"\xff\xc4" + struct.pack(">HB", 2 + 17 + len(LENGTHS), 0) + counts + bytes(range(len(LENGTHS)))


def _entropy_coded(differences: list[int]) -> bytes:
    codes, bits = _codes(), []
    for value in differences:
        size = abs(value).bit_length()
        code, length = codes[size]
        bits.append(f"{code:0{length}b}")
        if 0 < size < 16:
            bits.append(f"{value if value > 0 else value + (1 << size) - 1:0{size}b}")
    joined = "".join(bits)
    joined += "1" * (-len(joined) % 8)
    return int(joined, 2).to_bytes(len(joined) // 8, "big").replace(b"\xff", b"\xff\x00")
