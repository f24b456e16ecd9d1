"""Peak memory of a process, and `cxr-infer` reporting its own: `python -m benchmarks.memory FILE dir IN`."""

from __future__ import annotations

import atexit
import resource
import sys
from pathlib import Path

PEAK = "VmHWM:"
STATUS = Path("/proc/self/status")


def peak_memory() -> float:
    """Return the largest resident set of this process so far, MB.

    On Linux, `ru_maxrss` starts at the parent's value, so the kernel's status file is read instead.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(PEAK))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Run `cxr-infer` with the arguments after the first, which is the file for the peak."""
    target = Path(sys.argv.pop(1))
    atexit.register(lambda: target.write_text(f"{peak_memory()}"))
    from cxr_infer.__main__ import main as command

    command()


if __name__ == "__main__":
    main()
