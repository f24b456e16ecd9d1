"""What this machine offers: threads, and instructions for 8-bit integers."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

import cv2

CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")
FAST_INT8 = frozenset({"avx2", "asimddp"})  # Linux's names on x86 and ARM; every CPU with VNNI has AVX2
OPENCV_AVX2, OPENCV_DOT_PRODUCT = 11, 101  # CV_CPU_AVX2, CV_CPU_NEON_DOTPROD of opencv2/core/cvdef.h


def available_cpus(cgroup: Path = CGROUP) -> int:
    """Return the number of threads this process may use, at least 1; onnxruntime itself does not check.

    It is the number of CPUs that affinity allows, or fewer if a cgroup (v1 or v2) limits the CPU time.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def cgroup_quota(cgroup: Path = CGROUP) -> float | None:
    """Return the CPU time that the cgroup grants, in CPUs; None without a limit."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """Return the name of the processor, from the kernel's list (Linux) or Python's `platform`."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def multiplies_int8_fast(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this CPU has the instructions used by onnxruntime's int8 kernels.

    Reads the kernel's list of features (Linux), else asks OpenCV.
    """
    try:
        return not FAST_INT8.isdisjoint(cpuinfo.read_text().split())
    except OSError:
        return any(cv2.checkHardwareSupport(feature) for feature in (OPENCV_AVX2, OPENCV_DOT_PRODUCT))
