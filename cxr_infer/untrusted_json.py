"""Parse untrusted JSON with limits on size, depth and numbers."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

MOST_BYTES = 1 << 20  # our longest file, the manifest, has 31 kB
MOST_DEPTH = 32  # nested lists and objects; ours have up to 9 levels
MOST_DIGITS = 19  # of an integer, sign included, so that it fits into 64 bits


def parse_json(text: str | bytes, most: int = MOST_BYTES) -> Any:
    """Parse JSON of at most `most` bytes or characters.

    Raises ValueError if it is invalid, too large or too deep, or has non-finite numbers.
    """
    if len(text) > most:
        raise ValueError(f"longer than {most} bytes")
    if isinstance(text, bytes):
        text = text.decode()
    try:
        content = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"more than {MOST_DEPTH} levels") from None
    # code that walks the result recursively needs more stack than the parser
    if text.count("[") + text.count("{") > MOST_DEPTH and _is_deeper(content, MOST_DEPTH):
        raise ValueError(f"more than {MOST_DEPTH} levels")
    return content


def parse_object(text: str | bytes, most: int = MOST_BYTES) -> JsonObject:
    """Parse a JSON object. Raises ValueError as `parse_json` does, and for other types."""
    content = parse_json(text, most)
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def _is_deeper(content: Any, most: int) -> bool:
    level = [content]  # all lists and objects at one depth
    for _ in range(most):
        parts = (part for one in level for part in (one.values() if isinstance(one, dict) else one))
        level = [part for part in parts if isinstance(part, dict | list)]
    return bool(level)


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError("an integer that is too large")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not a number")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_constant)
