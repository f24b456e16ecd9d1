"""A simulated full disk for files written by this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

MOST = 1 << 16  # bytes per file


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Limit the files of this process to MOST bytes: further writes fail, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
