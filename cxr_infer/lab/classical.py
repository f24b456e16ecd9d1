"""Classical denoisers, told the true noise, which a model has to estimate.

Each works on a variance-stabilised image, in which the noise has standard deviation 1 at every brightness: Anscombe's
transform for photon counts, the integral of the detector's curve for other noise. Images are (H, W) float32 in [0, 1].
Strengths were tuned on validation images at 20 and 200 photons.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command, missing_package
from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.noise import KnownNoise

OnStable = Callable[
    [Float64Array, Float64Array], NDArray[np.floating]
]  # (stable image, power spectrum of its noise) -> denoised

NLM_STRENGTH, NLM_STRENGTH_CORRELATED = 1.15, 1.0  # standard deviations of the noise
BLUR_AT, BLUR, BLUR_POWER = (
    200.0,
    1.65,
    -0.2,
)  # reference dose in photons, its width in px, and exponent of the width against dose
GRID = 4097  # points at which a curve is integrated
LEAST_SD = 0.05  # fraction of the curve's maximum; a curve that falls to 0 would have an infinite integral


def anscombe(image: FloatImage, white: float) -> FloatImage:
    """Transform Poisson counts to values with a standard deviation of about 1: 2 sqrt(n + 3/8) (Anscombe 1948)."""
    return np.asarray(2 * np.sqrt(image * np.float32(white) + np.float32(0.375)), dtype=np.float32)


def inverse_anscombe(value: NDArray[np.floating], white: float) -> FloatImage:
    """Apply the closed-form exact unbiased inverse (Makitalo and Foi, IEEE TIP 20(9), 2011). Returns [0, 1]."""
    f = np.maximum(value.astype(np.float64), 2 * np.sqrt(0.375))
    root = np.sqrt(1.5)
    photons = f**2 / 4 + root / (4 * f) - 11 / (8 * f**2) + 5 * root / (8 * f**3) - 1 / 8
    return np.asarray(np.clip(photons / white, 0, 1), dtype=np.float32)


def stabilisers(
    curve: Float64Array,
) -> tuple[Callable[[FloatImage], Float64Array], Callable[[Float64Array], FloatImage]]:
    """Return the transform that makes the noise's standard deviation 1, and its inverse.

    curve: (K, 2), brightness and standard deviation, both in [0, 1] units. The transform is the integral of 1 / sd over
    brightness (Bartlett 1936; for Poisson noise the square root). The inverse returns [0, 1].
    """
    brightness = np.linspace(0, 1, GRID)
    sd = np.interp(brightness, curve[:, 0], curve[:, 1])
    slope = 1 / np.maximum(sd, LEAST_SD * sd.max())
    value = np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(brightness))])
    return (
        lambda image: np.asarray(np.interp(image, brightness, value)),
        lambda stable: np.interp(stable, value, brightness).astype(np.float32),
    )


def stabilised(denoise: OnStable) -> Callable[[FloatImage, KnownNoise], FloatImage]:
    """Wrap a denoiser of (stable image, power spectrum of its noise of variance 1) in a transform and its inverse."""

    def method(noisy: FloatImage, told: KnownNoise) -> FloatImage:
        if told.poisson:
            stable = anscombe(noisy, told.dose).astype(np.float64)
            return inverse_anscombe(denoise(stable, told.spectrum), told.dose)
        forward, inverse = stabilisers(told.curve)
        return inverse(np.asarray(denoise(forward(noisy), told.spectrum), dtype=np.float64))

    return method


def gaussian_blur(noisy: FloatImage, dose: float) -> FloatImage:
    """Blur with a Gaussian that widens as the dose falls: 2.6 px at 20 photons at white, 1.3 px at 600."""
    width = BLUR * (dose / BLUR_AT) ** BLUR_POWER
    return np.asarray(cv2.GaussianBlur(noisy, (0, 0), width), dtype=np.float32)


def non_local_means_16_bit(stable: NDArray[np.floating], strength: float = NLM_STRENGTH) -> FloatImage:
    """Apply OpenCV's non-local means to a stabilised image >= 0. strength: standard deviations of its noise."""
    scale = 65535 / float(stable.max())
    image = np.rint(stable * scale).astype(np.uint16)
    denoised = cv2.fastNlMeansDenoising(image, [strength * scale], None, 5, 21, cv2.NORM_L1)
    return np.asarray(denoised, dtype=np.float32) / np.float32(scale)


def wavelet_white(stable: NDArray[np.floating]) -> FloatImage:
    """Apply BayesShrink (Chang, Yu and Vetterli 2000) for white noise of standard deviation 1.

    Raises UsageError if scikit-image or PyWavelets is missing.
    """
    try:
        import pywt  # noqa: F401 - scikit-image reports too late that it needs it
        from skimage.restoration import denoise_wavelet
    except ImportError as error:
        package = {"pywt": "PyWavelets", "skimage": "scikit-image"}.get((error.name or "").split(".")[0], "PyWavelets")
        raise UsageError(missing_package(package, install_command("lab"))) from error
    single = stable.astype(np.float32)
    return np.asarray(denoise_wavelet(single, sigma=1.0, wavelet="db2", mode="soft"), dtype=np.float32)


def bm3d_told(stable: Float64Array, spectrum: Float64Array) -> Float64Array:
    """Apply BM3D for stationary noise of a given spectrum (Makinen, Azzari and Foi 2020); its package is
    non-commercial.

    Runs in one thread: with several, its sums, and so its figures, differ from run to run. Raises UsageError if it is
    missing.
    """
    try:
        import bm3d
    except ImportError as error:
        raise UsageError(missing_package("bm3d", install_command("lab", "bm3d"))) from error
    if not hasattr(np, "trapz"):
        vars(np)["trapz"] = np.trapezoid  # called by bm4d 4.2.5, on which bm3d is built; removed in numpy 2.4
    profile = bm3d.BM3DProfile()
    profile.num_threads = 1
    return np.asarray(bm3d.bm3d(stable, spectrum * spectrum.size, profile), dtype=np.float64)


def non_local_means(strength: float) -> Callable[[FloatImage, KnownNoise], FloatImage]:
    """Return non-local means on the stabilised image. strength: standard deviations of its noise."""
    return stabilised(lambda stable, spectrum: non_local_means_16_bit(stable, strength))


def nlm(noisy: FloatImage, told: KnownNoise) -> FloatImage:
    """Apply non-local means at the strength that was best for the kind of noise."""
    return non_local_means(NLM_STRENGTH if told.poisson else NLM_STRENGTH_CORRELATED)(noisy, told)


def gaussian(noisy: FloatImage, told: KnownNoise) -> FloatImage:
    return gaussian_blur(noisy, told.dose)


def wavelet(noisy: FloatImage, told: KnownNoise) -> FloatImage:
    """Apply BayesShrink, which assumes white noise; correlated noise remains at coarse scales."""
    return stabilised(lambda stable, spectrum: wavelet_white(stable))(noisy, told)


def bm3d(noisy: FloatImage, told: KnownNoise) -> FloatImage:
    return stabilised(bm3d_told)(noisy, told)
