"""Check that a JSON Schema rejects invalid documents."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest


def refuses(schema: dict[str, Any], good: dict[str, Any], place: tuple[Any, ...], wrong: object) -> None:
    """Check that the schema accepts the document, but neither a wrong value at a place nor the lack of it.

    place: keys and indices, from the outside in.
    """
    jsonschema.validate(good, schema)
    changed = copy.deepcopy(good)
    part: Any = changed
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, schema)
    del part[place[-1]]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, schema)
