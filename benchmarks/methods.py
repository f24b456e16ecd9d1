"""What a user could use instead: classical denoisers, each told the true dose, which `window` has to find by itself.

Every method maps one noisy image, (H, W) float32 in [0, 1], and the photons at white to an image of the same kind.
Their strengths were tuned on validation images at 20 and 200 photons.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.restoration import denoise_wavelet

from cxr_infer import load_model
from cxr_infer.model.card import FP32, INT8
from cxr_infer.model.installed import AUTO
from cxr_infer.settings import Settings
from cxr_train.comparison import Method, simple_methods

FloatImage = NDArray[np.float32]

NLM_ANSCOMBE, BM3D = "NLM on Anscombe", "BM3D on Anscombe"
WINDOW, WINDOW_INT8 = "window", "window, int8"


def anscombe(image: FloatImage, white: float) -> FloatImage:
    """Poisson counts -> values with a standard deviation of about 1: 2 sqrt(n + 3/8) (Anscombe 1948)."""
    return np.asarray(2 * np.sqrt(image * np.float32(white) + np.float32(0.375)), dtype=np.float32)


def inverse_anscombe(value: FloatImage, white: float) -> FloatImage:
    """The exact unbiased inverse in closed form (Makitalo and Foi, IEEE TIP 20(9), 2011). Returns [0, 1]."""
    f = np.maximum(value.astype(np.float64), 2 * np.sqrt(0.375))
    root = np.sqrt(1.5)
    photons = f**2 / 4 + root / (4 * f) - 11 / (8 * f**2) + 5 * root / (8 * f**3) - 1 / 8
    return np.clip(photons / white, 0, 1).astype(np.float32)


def on_anscombe(denoise: Callable[[FloatImage], FloatImage]) -> Method:
    """A denoiser for white noise of standard deviation 1, put between the transform and its inverse."""
    return lambda noisy, white: inverse_anscombe(denoise(anscombe(noisy, white)), white)


def non_local_means_16_bit(stable: NDArray[np.floating], strength: float = 1.15) -> FloatImage:
    """OpenCV's, of a stabilised image at least 0 everywhere. strength: in standard deviations of its noise."""
    scale = 65535 / float(stable.max())
    image = np.rint(stable * scale).astype(np.uint16)
    denoised = cv2.fastNlMeansDenoising(image, [strength * scale], None, 5, 21, cv2.NORM_L1)
    return np.asarray(denoised, dtype=np.float32) / np.float32(scale)


def _wavelet(stable: FloatImage) -> FloatImage:
    return np.asarray(denoise_wavelet(stable, sigma=1.0, wavelet="db2", mode="soft"), dtype=np.float32)


def _bm3d(stable: FloatImage) -> FloatImage:
    import bm3d

    return np.asarray(bm3d.bm3d(stable.astype(np.float64), 1.0), dtype=np.float32)


def classical() -> dict[str, Method]:
    """The classical methods; BM3D where the package `bm3d`, whose licence is not for commercial use, is installed."""
    methods: dict[str, Method] = {
        **simple_methods(),
        NLM_ANSCOMBE: on_anscombe(non_local_means_16_bit),
        "wavelet on Anscombe": on_anscombe(_wavelet),
    }
    if importlib.util.find_spec("bm3d"):
        methods[BM3D] = on_anscombe(_bm3d)
    return methods


def model(source: str, precision: str = AUTO) -> Callable[[FloatImage, object], FloatImage]:
    """An installed model, or an .onnx file, as a method that makes nothing of what it is told of the noise."""
    loaded = load_model(source, precision=precision)
    return lambda noisy, told: loaded.denoise_unit(noisy, Settings())


def window_models(source: str) -> dict[str, Callable[[FloatImage, object], FloatImage]]:
    """`window` in both precisions, or an .onnx file in its place."""
    if source == WINDOW:
        return {WINDOW: model(WINDOW, FP32), WINDOW_INT8: model(WINDOW, INT8)}
    return {WINDOW: model(source)}
