"""A disk that takes no more, for a table that this process writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

MOST = 1 << 16  # bytes of a file


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let this process write no file beyond MOST bytes: the system refuses what follows, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
