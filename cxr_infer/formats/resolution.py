"""Pixel density as stored in TIFF and PNG."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

NO_UNIT, INCH, CM = 1, 2, 3  # TIFF's numbers
PER_METRE = {INCH: Fraction(10_000, 254), CM: Fraction(100)}
PNG_UNIT_UNKNOWN, PNG_METRE = 0, 1  # of the chunk pHYs
LARGEST_TIFF, LARGEST_PNG = (1 << 32) - 1, (1 << 31) - 1  # largest integers of each format


@dataclass(frozen=True)
class Resolution:
    """Pixels per unit along x and y. unit: TIFF's ResolutionUnit; with NO_UNIT only the ratio counts."""

    x: Fraction
    y: Fraction
    unit: int = NO_UNIT


def checked(x: Fraction | None, y: Fraction | None, unit: int) -> Resolution | None:
    """Return a resolution; None unless both numbers are positive and fit into a TIFF."""
    if x is None or y is None or min(x, y) <= 0:
        return None
    if max(x.numerator, x.denominator, y.numerator, y.denominator) > LARGEST_TIFF:
        return None
    return Resolution(x, y, unit if unit in PER_METRE else NO_UNIT)


def from_phys(data: bytes) -> Resolution | None:
    """Decode a PNG's chunk pHYs. Raises struct.error if it is invalid."""
    x, y, unit = struct.unpack(">IIB", data)
    if unit == PNG_METRE:
        return checked(Fraction(x, 100), Fraction(y, 100), CM)
    return checked(Fraction(x), Fraction(y), NO_UNIT)


def to_phys(resolution: Resolution) -> bytes | None:
    """Encode a PNG's chunk pHYs; None if the numbers do not fit."""
    scale = PER_METRE.get(resolution.unit)
    if scale is None:  # only the ratio counts
        numbers = list((resolution.x / resolution.y).as_integer_ratio())
    else:
        numbers = [round(value * scale) for value in (resolution.x, resolution.y)]
    if not all(0 < number <= LARGEST_PNG for number in numbers):
        return None
    return struct.pack(">IIB", *numbers, PNG_UNIT_UNKNOWN if scale is None else PNG_METRE)
