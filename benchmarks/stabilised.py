"""Classical methods that are given a detector's noise: its curve against brightness, and its power spectrum.

Each works on the stabilised image, in which the noise has standard deviation 1 at every brightness. They are given the
noise that was added, or the estimate of `estimate_mottle` from the noisy image. No blind method can know the added
noise exactly: X-rays have grain of their own, which cannot be distinguished from noise.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from cxr_infer.errors import ImageError
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.classical import bm3d_told, non_local_means, stabilised
from cxr_infer.lab.noise import KnownNoise, told_of

ToldMethod = Callable[[FloatImage, KnownNoise], FloatImage]  # (noisy, its true noise) -> denoised

NLM, BM3D = "NLM, told the noise", "BM3D, told the noise"
NLM_UNTOLD, BM3D_UNTOLD = "NLM, told our estimate", "BM3D, told our estimate"
NLM_STRENGTHS = (0.8, 1.0)  # standard deviations; the better one depends on the spectrum


def told_methods() -> dict[str, tuple[ToldMethod, ...]]:
    """Return the methods with their variants, the best of which counts; BM3D (non-commercial) only if `bm3d` is
    installed.
    """
    methods = {NLM: tuple(non_local_means(strength) for strength in NLM_STRENGTHS)}
    if importlib.util.find_spec("bm3d"):
        methods[BM3D] = (stabilised(bm3d_told),)
    return methods


def untold_methods() -> dict[str, tuple[ToldMethod, ...]]:
    """Return the same methods, given our estimate of the noise."""
    names = {NLM: NLM_UNTOLD, BM3D: BM3D_UNTOLD}
    return {names[name]: tuple(map(told_our_estimate, variants)) for name, variants in told_methods().items()}


def told_our_estimate(method: ToldMethod) -> ToldMethod:
    """Wrap a method so that it is given the noise estimated from the noisy image instead of the true noise.

    An image whose noise cannot be separated from its structure is returned unchanged.
    """

    def untold(noisy: FloatImage, told: KnownNoise) -> FloatImage:
        try:
            estimated = told_of(estimate_mottle(noisy), (noisy.shape[0], noisy.shape[1]))
        except ImageError:
            return noisy
        return method(noisy, estimated)

    return untold
