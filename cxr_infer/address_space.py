"""Little address space, as `ulimit -v` and some batch schedulers leave: a line that says so, and no crash in C."""

from __future__ import annotations

import mmap
import os
from collections.abc import MutableMapping

# as errors have it of Python, of its loader, of the C library and of C++
SIGNS = ("can't start new thread", "failed to map segment", "cannot allocate memory", "bad_alloc", "bad allocation")
ARENA_MAX = -8  # `M_ARENA_MAX` of glibc's malloc.h
LACK = "out of memory; allow more (see ulimit -v) or give fewer --threads"


def is_limited() -> bool:
    """Whether this process may not take all the addresses that it likes. Never on Windows, which has no such limit."""
    try:
        import resource
    except ImportError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def spare_addresses(environment: MutableMapping[str, str] = os.environ) -> None:
    """To be called before numpy is loaded: its OpenBLAS takes some 50 MB for each thread, and crashes without.

    Nothing here multiplies large matrices, so that a thread is enough where addresses are scarce. Of memory glibc sets
    64 MB aside for each thread, in the processes started from here as well, until one that asks for little finds none.
    """
    if is_limited():
        environment.setdefault("OPENBLAS_NUM_THREADS", "1")
        environment.setdefault("MALLOC_ARENA_MAX", "1")
        _share_one_arena()


def _share_one_arena() -> None:
    """Let all threads of this process, which read the variable too early, allocate from one arena; glibc alone can."""
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(ARENA_MAX, 1)
    except (ImportError, OSError, AttributeError, TypeError):
        pass  # another C library, or none that can be asked


def has_room(size: int) -> bool:
    """Whether `size` bytes more can be had, as where a library in C says no more than that it failed."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception of whatever library says that there is no memory left, or no thread for want of it."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in SIGNS)
