"""Read attributes of a data set as the types they should have, even if a file stores something else.

Reading changes nothing: an attribute that was read as raw bytes is written back as those bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset

from cxr_infer.errors import ImageError

LARGEST = 1e15  # largest plausible number; results computed from smaller ones stay finite
TEXT = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
ONE_TEXT = frozenset({"LT", "ST", "UR", "UT"})  # a backslash does not separate values (PS3.5 section 6.2)
ANY_BYTE = "latin-1"  # maps every byte to a character, so that text round-trips whatever its character set


def values(dataset: Dataset, keyword: str) -> list[Any]:
    """Return the values of an attribute, [] if absent or empty; text has one character per byte and no padding."""
    element = dataset.get_item(tag_for_keyword(keyword) or 0)
    if isinstance(element, RawDataElement):
        if element.VR in TEXT:
            joined = (element.value or b"").decode(ANY_BYTE)
            parts = [joined] if element.VR in ONE_TEXT else joined.split("\\")
            return [part.strip(" \0") for part in parts] if joined.strip(" \0") else []
        element = convert_raw_data_element(element)
    found = None if element is None else element.value
    if found is None or found in ("", b""):
        return []
    return list(found) if isinstance(found, Iterable) and not isinstance(found, str | bytes) else [found]


def value(dataset: Dataset, keyword: str) -> Any:
    """Return the first value of an attribute; None if it is absent or empty."""
    found = next(iter(values(dataset, keyword)), None)
    return None if found == "" else found


def text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute as text without padding; empty if it is absent."""
    found = value(dataset, keyword)
    return "" if found is None else str(found).strip(" \0")


def code(dataset: Dataset, keyword: str) -> str:
    """Return a defined term in capitals, as the standard spells it; empty if it is absent."""
    return text(dataset, keyword).upper()


def as_number(found: Any) -> float | None:
    """Parse a value as a number, with a decimal point or comma; None if it is not a plausible number."""
    try:
        result = float(str(found).replace(",", "."))
    except ValueError:
        return None
    return result if abs(result) <= LARGEST else None  # None for NaN too


def is_number(found: Any) -> bool:
    """Whether a value is a finite number, plausible or not."""
    try:
        return math.isfinite(float(str(found).replace(",", ".")))
    except ValueError:
        return False


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return an attribute as a number; None if it is absent. Raises ImageError if it is not a plausible number."""
    found = value(dataset, keyword)
    if found is None:
        return None
    result = as_number(found)
    if result is None:
        raise ImageError(f"its {keyword} is not a valid number; correct that attribute")
    return result


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return an attribute as an integer. Raises ImageError if it is not one, or is absent without a default."""
    found = number(dataset, keyword)
    if found is None:
        found = default
    if found is None or found != int(found):
        raise ImageError(f"lacks a valid {keyword}, which is needed to read its pixels; export it again")
    return int(found)


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, [] if it is absent. Raises ImageError if it is not a sequence."""
    found = values(dataset, keyword)
    if not all(isinstance(item, Dataset) for item in found):
        raise ImageError(f"its {keyword} is not a sequence; export it again")
    return found
