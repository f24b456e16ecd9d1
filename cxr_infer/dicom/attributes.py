"""Attributes of a data set as the types that they should have, whatever a file holds in their place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

from cxr_infer.errors import ImageError

LARGEST = 1e15  # number that means something; what is computed from those up to it stays finite


def value(dataset: Dataset, keyword: str) -> Any:
    """The value of an attribute, the first of several; None where it is absent or empty."""
    found = dataset.get(keyword)
    if isinstance(found, Iterable) and not isinstance(found, str | bytes):
        found = next(iter(found), None)
    return None if found in ("", b"") else found


def text(dataset: Dataset, keyword: str) -> str:
    """An attribute as text without blanks around it; empty where it is absent."""
    found = value(dataset, keyword)
    return "" if found is None else str(found).strip(" \0")


def number(dataset: Dataset, keyword: str) -> float | None:
    """A number, or None. Raises ImageError where the attribute is none, or none that means something."""
    found = value(dataset, keyword)
    if found is None:
        return None
    try:
        result = float(found)
    except (TypeError, ValueError):
        result = math.nan
    if not abs(result) <= LARGEST:  # also of NaN
        raise ImageError(f"its {keyword} is no number that makes sense; correct that attribute")
    return result


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number. Raises ImageError where there is none and no default either."""
    found = number(dataset, keyword)
    if found is None:
        found = default
    if found is None or found != int(found):
        raise ImageError(f"lacks {keyword}, without which its pixels have no meaning; export it again")
    return int(found)


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none where it is absent. Raises ImageError where it is no sequence."""
    found = dataset.get(keyword)
    if found is None:
        return []
    if isinstance(found, str | bytes) or not all(isinstance(item, Dataset) for item in found):
        raise ImageError(f"its {keyword} is no sequence; export it again")
    return list(found)
