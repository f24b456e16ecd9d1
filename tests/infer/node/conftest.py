"""Fixtures shared by the tests of the node."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect sockets left by a sender's library within their test, whose marks ignore the warnings."""
    yield
    gc.collect()
