"""Peak memory of a process, and `cxr-infer` as one that tells its own: `python -m benchmarks.memory FILE dir IN`."""

from __future__ import annotations

import atexit
import resource
import sys
from pathlib import Path

PEAK = "VmHWM:"
STATUS = Path("/proc/self/status")


def peak_memory() -> float:
    """Largest resident set of this process so far, MB.

    Linux's `ru_maxrss` begins at what the parent had when it started this process, so the kernel's status is asked.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(PEAK))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Run `cxr-infer` with the arguments after the first, which names the file for the peak."""
    target = Path(sys.argv.pop(1))
    atexit.register(lambda: target.write_text(f"{peak_memory()}"))
    from cxr_infer.__main__ import main as command

    command()


if __name__ == "__main__":
    main()
