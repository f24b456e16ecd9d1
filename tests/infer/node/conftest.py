"""What tests of the node share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Sockets that a sender's library left to the garbage collector go with their test, whose marks pass them over."""
    yield
    gc.collect()
