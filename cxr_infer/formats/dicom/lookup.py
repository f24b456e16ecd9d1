"""Lookup tables of a data set: Modality and VOI LUTs (PS3.3 C.11.1 and C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.attributes import as_number, items, values

StorableTable = NDArray[np.float64]  # (storable values,), ascending stored value

EMPTY = "an item of its {} is empty; ignored"
SHORT = "a LUT of its {} has fewer entries than declared; ignored"
VOI = "VOILUTSequence"  # affects the initial display only, so a bad table can be skipped


@dataclass(frozen=True)
class LookupTable:
    """entries: (N,) uint8 or uint16. first: input value of the first entry. bits: of an entry, as declared."""

    entries: NDArray[Any]
    first: int
    bits: int

    @property
    def depth(self) -> int:
        """Bits that the largest entry needs: many descriptors state the word size instead."""
        return max(int(self.entries.max()).bit_length(), 8)

    def __call__(self, measured: NDArray[Any]) -> StorableTable:
        """Look up values; those outside get the first or last entry (PS3.3 C.11.1.1.1)."""
        first = self.first
        if first >= 1 << 15 and measured.min() < 0:  # a negative number stored as unsigned
            first -= 1 << 16
        places = np.clip(np.rint(measured) - first, 0, len(self.entries) - 1).astype(np.int64)
        return np.asarray(self.entries[places], dtype=np.float64)


def first_table(dataset: Dataset, keyword: str) -> tuple[LookupTable | None, tuple[str, ...]]:
    """Return the first complete table of a sequence, None if there is none, and a note on skipped ones.

    Raises ImageError if a Modality LUT has fewer entries than declared.
    """
    notes: tuple[str, ...] = ()
    for item in items(dataset, keyword):
        descriptor = [as_number(found) for found in values(item, "LUTDescriptor")]
        data = _data(item)
        if len(descriptor) != 3 or None in descriptor or not data:
            notes = (EMPTY.format(keyword),)
            continue
        table = _table([int(found or 0) for found in descriptor], data)
        if table is not None:
            return table, notes
        if keyword != VOI:
            raise ImageError(f"its {keyword} has a LUT with fewer entries than declared; export it again")
        notes = (SHORT.format(keyword),)
    return None, notes


def _data(item: Dataset) -> bytes:
    """Return the entries as little-endian bytes."""
    element = item.get_item(tag_for_keyword("LUTData") or 0)
    if isinstance(element, RawDataElement):
        return element.value or b""
    found = values(item, "LUTData")
    return np.asarray(found).astype("<u2").tobytes() if found else b""


def _table(descriptor: list[int], data: bytes) -> LookupTable | None:
    """Build a table (PS3.3 C.11.1.1.1); None if it has fewer entries than its descriptor declares."""
    count = descriptor[0] & 0xFFFF or 1 << 16  # 0 means 65536; the count may be stored as signed
    entries = np.frombuffer(data[: len(data) // 2 * 2], "<u2") if len(data) >= 2 * count else np.frombuffer(data, "u1")
    return LookupTable(entries[:count], descriptor[1], descriptor[2]) if len(entries) >= count else None
