"""Whether this CPU multiplies 8-bit integers fast: the instructions that onnxruntime's int8 kernels are made of."""

from __future__ import annotations

from pathlib import Path

import cv2

CPUINFO = Path("/proc/cpuinfo")
FAST_INT8 = frozenset({"avx2", "asimddp"})  # as Linux names them, x86 and ARM; all that have VNNI have AVX2
OPENCV_AVX2, OPENCV_DOT_PRODUCT = 11, 101  # CV_CPU_AVX2, CV_CPU_NEON_DOTPROD of opencv2/core/cvdef.h


def multiplies_int8_fast(cpuinfo: Path = CPUINFO) -> bool:
    """By the kernel's list of features where there is one (Linux), else by OpenCV's."""
    try:
        return not FAST_INT8.isdisjoint(cpuinfo.read_text().split())
    except OSError:
        return any(cv2.checkHardwareSupport(feature) for feature in (OPENCV_AVX2, OPENCV_DOT_PRODUCT))
