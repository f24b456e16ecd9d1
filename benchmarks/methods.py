"""Alternatives to `window`: classical denoisers, given the true dose, which `window` has to estimate.

Every method maps one noisy image, (H, W) float32 in [0, 1], and the photons at white to an image of the same kind.
Strengths were tuned on validation images at 20 and 200 photons.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from cxr_infer import load_model
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.classical import anscombe, inverse_anscombe, non_local_means_16_bit, wavelet_white
from cxr_infer.model.card import FP32, INT8
from cxr_infer.model.installed import AUTO
from cxr_infer.settings import Settings
from cxr_train.comparison import DenoisingMethod, simple_methods

NLM_ANSCOMBE, BM3D = "NLM on Anscombe", "BM3D on Anscombe"
WINDOW, WINDOW_INT8 = "window", "window, int8"


def on_anscombe(denoise: Callable[[FloatImage], FloatImage]) -> DenoisingMethod:
    """Wrap a denoiser for white noise of standard deviation 1 in the Anscombe transform and its inverse."""
    return lambda noisy, white: inverse_anscombe(denoise(anscombe(noisy, white)), white)


def _bm3d(stable: FloatImage) -> FloatImage:
    import bm3d

    return np.asarray(bm3d.bm3d(stable.astype(np.float64), 1.0), dtype=np.float32)


def classical() -> dict[str, DenoisingMethod]:
    """Return the classical methods; BM3D only if the package `bm3d`, which is non-commercial, is installed."""
    methods: dict[str, DenoisingMethod] = {
        **simple_methods(),
        NLM_ANSCOMBE: on_anscombe(non_local_means_16_bit),
        "wavelet on Anscombe": on_anscombe(wavelet_white),
    }
    if importlib.util.find_spec("bm3d"):
        methods[BM3D] = on_anscombe(_bm3d)
    return methods


def model(source: str, precision: str = AUTO) -> Callable[[FloatImage, object], FloatImage]:
    """Return an installed model, or an .onnx file, as a method that ignores what it is told about the noise."""
    loaded = load_model(source, precision=precision)
    return lambda noisy, told: loaded.denoise_unit(noisy, Settings())


def window_models(source: str) -> dict[str, Callable[[FloatImage, object], FloatImage]]:
    """Return `window` in both precisions, or an .onnx file instead."""
    if source == WINDOW:
        return {WINDOW: model(WINDOW, FP32), WINDOW_INT8: model(WINDOW, INT8)}
    return {WINDOW: model(source)}
