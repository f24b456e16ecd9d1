"""Classical methods told the true noise of a detector: its curve against brightness, and its power spectrum.

Each works on the stabilised image, in which the noise has standard deviation 1 at every brightness.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cxr_infer.lab.classical import bm3d_told, non_local_means, stabilised
from cxr_infer.lab.noise import Told

FloatImage = NDArray[np.float32]
Array = NDArray[np.float64]
ToldMethod = Callable[[FloatImage, Told], FloatImage]  # (noisy, its true noise) -> denoised

NLM, BM3D = "NLM, told", "BM3D, told"
NLM_STRENGTHS = (0.8, 1.0)  # standard deviations; the better one depends on the spectrum


def told_methods() -> dict[str, tuple[ToldMethod, ...]]:
    """Return the methods with their variants, the best of which counts; BM3D (non-commercial) only if `bm3d` is
    installed.
    """
    methods = {NLM: tuple(non_local_means(strength) for strength in NLM_STRENGTHS)}
    if importlib.util.find_spec("bm3d"):
        methods[BM3D] = (stabilised(bm3d_told),)
    return methods
