"""Classical methods told the truth about a detector's noise: its curve against brightness, and its power spectrum.

Each works on the stabilised image, in which the standard deviation of the noise is 1 at every brightness.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.detector_noise import Told
from benchmarks.methods import non_local_means_16_bit

FloatImage = NDArray[np.float32]
Array = NDArray[np.float64]
ToldMethod = Callable[[FloatImage, Told], FloatImage]  # (noisy, the truth about its noise) -> denoised

NLM, BM3D = "NLM, told", "BM3D, told"
NLM_STRENGTHS = (0.8, 1.0)  # standard deviations; which is better depends on the spectrum
GRID = 4097  # brightnesses at which the curve is integrated
LEAST_SD = 0.05  # of the curve's largest: where a curve falls to 0, its inverse would have no integral


def stabilisers(curve: Array) -> tuple[Callable[[FloatImage], Array], Callable[[Array], FloatImage]]:
    """The transform that makes the noise's standard deviation 1, and its inverse.

    curve: (K, 2), brightness and standard deviation, both in [0, 1] units. The transform is the integral of 1 / sd
    over the brightness (Bartlett 1936; for Poisson noise the square root). The inverse returns [0, 1].
    """
    brightness = np.linspace(0, 1, GRID)
    sd = np.interp(brightness, curve[:, 0], curve[:, 1])
    slope = 1 / np.maximum(sd, LEAST_SD * sd.max())
    value = np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(brightness))])
    return (
        lambda image: np.asarray(np.interp(image, brightness, value)),
        lambda stable: np.interp(stable, value, brightness).astype(np.float32),
    )


def stabilised(denoise: Callable[[Array, Array], Array]) -> ToldMethod:
    """A denoiser of (stable image, power spectrum of its noise of variance 1), put between transform and inverse."""

    def method(noisy: FloatImage, told: Told) -> FloatImage:
        forward, inverse = stabilisers(told.curve)
        return inverse(denoise(forward(noisy), told.spectrum))

    return method


def non_local_means(strength: float) -> ToldMethod:
    return stabilised(lambda stable, spectrum: non_local_means_16_bit(stable, strength).astype(np.float64))


def _bm3d(stable: Array, spectrum: Array) -> Array:
    import bm3d

    if not hasattr(np, "trapz"):
        vars(np)["trapz"] = np.trapezoid  # bm4d 4.2.5, on which bm3d is built, calls it; numpy 2.4 has it no more
    return np.asarray(bm3d.bm3d(stable, spectrum * spectrum.size), dtype=np.float64)


def told_methods() -> dict[str, tuple[ToldMethod, ...]]:
    """Each with its variants, of which the best counts; BM3D, for non-commercial use, where `bm3d` is installed."""
    methods = {NLM: tuple(non_local_means(strength) for strength in NLM_STRENGTHS)}
    if importlib.util.find_spec("bm3d"):
        methods[BM3D] = (stabilised(_bm3d),)
    return methods
