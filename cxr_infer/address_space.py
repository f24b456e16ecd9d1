"""Cope with limited address space (`ulimit -v`, some batch schedulers): a clear message, and no crash in C code."""

from __future__ import annotations

import mmap
import os
from collections.abc import MutableMapping

# error texts of Python, the dynamic loader, the C library and C++
SIGNS = ("can't start new thread", "failed to map segment", "cannot allocate memory", "bad_alloc", "bad allocation")
ARENA_MAX = -8  # `M_ARENA_MAX` of glibc's malloc.h
LACK = "out of memory; allow more (see ulimit -v) or use fewer --threads"


def is_limited() -> bool:
    """Whether the address space of this process is limited. False on Windows, which has no such limit."""
    try:
        import resource
    except ImportError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def spare_addresses(environment: MutableMapping[str, str] = os.environ) -> None:
    """Save address space if it is limited. Call before numpy is imported.

    numpy's OpenBLAS takes about 50 MB per thread and crashes if it cannot have them; one thread is enough, as nothing
    here multiplies large matrices. glibc reserves 64 MB per thread, in child processes too, until small allocations
    fail; one arena avoids that.
    """
    if is_limited():
        environment.setdefault("OPENBLAS_NUM_THREADS", "1")
        environment.setdefault("MALLOC_ARENA_MAX", "1")
        _share_one_arena()


def _share_one_arena() -> None:
    """Make all threads share one malloc arena (glibc only); this process has already read MALLOC_ARENA_MAX."""
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(ARENA_MAX, 1)
    except (ImportError, OSError, AttributeError, TypeError):
        pass  # not glibc


def has_room(size: int) -> bool:
    """Whether `size` more bytes can be allocated, for C libraries that fail without a reason."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception of any library means that memory has run out, perhaps for a new thread."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in SIGNS)
