"""Attributes of a data set as the types that they should have, whatever a file holds in their place.

Nothing is changed by looking: an attribute that came as bytes stays so, and leaves as it came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset

from cxr_infer.errors import ImageError

LARGEST = 1e15  # number that means something; what is computed from those up to it stays finite
TEXT = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
ONE_TEXT = frozenset({"LT", "ST", "UR", "UT"})  # in which a backslash separates nothing
ANY_BYTE = "latin-1"  # every byte is a character of it, so that text comes and goes as bytes


def values(dataset: Dataset, keyword: str) -> list[Any]:
    """The values of an attribute, none where it is absent or empty; text as one character a byte, without padding."""
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
    """The value of an attribute, the first of several; None where it is absent or empty."""
    found = next(iter(values(dataset, keyword)), None)
    return None if found == "" else found


def text(dataset: Dataset, keyword: str) -> str:
    """An attribute as text without blanks around it; empty where it is absent."""
    found = value(dataset, keyword)
    return "" if found is None else str(found).strip(" \0")


def code(dataset: Dataset, keyword: str) -> str:
    """A defined term as the standard writes it, in capitals, however the file does; empty where it is absent."""
    return text(dataset, keyword).upper()


def as_number(found: Any) -> float | None:
    """A value as a number, its decimal point written as a comma or not; None where it is none that means something."""
    try:
        result = float(str(found).replace(",", "."))
    except ValueError:
        return None
    return result if abs(result) <= LARGEST else None  # nor is NaN


def is_number(found: Any) -> bool:
    """Whether a value is a number at all, be it one that means nothing; NaN and infinity are none."""
    try:
        return math.isfinite(float(str(found).replace(",", ".")))
    except ValueError:
        return False


def number(dataset: Dataset, keyword: str) -> float | None:
    """A number, or None. Raises ImageError where the attribute is none, or none that means something."""
    found = value(dataset, keyword)
    if found is None:
        return None
    result = as_number(found)
    if result is None:
        raise ImageError(f"its {keyword} is not a valid number; correct that attribute")
    return result


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number. Raises ImageError where there is none and no default either."""
    found = number(dataset, keyword)
    if found is None:
        found = default
    if found is None or found != int(found):
        raise ImageError(f"lacks {keyword}, which is needed to read its pixels; export it again")
    return int(found)


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none where it is absent. Raises ImageError where it is no sequence."""
    found = values(dataset, keyword)
    if not all(isinstance(item, Dataset) for item in found):
        raise ImageError(f"its {keyword} is not a sequence; export it again")
    return found
