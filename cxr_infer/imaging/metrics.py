"""Compare an image with its clean reference: MSE, PSNR, SSIM. `mottle.py` measures mottle without a reference."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import row_strips

Image = NDArray[np.floating]

SSIM_SIGMA = 1.5  # px, of the Gaussian window
SSIM_RADIUS = 5  # px, reach of the window; pixels closer than this to the border are left out
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
PERFECT_MSE = 1e-12  # smaller errors count as this, so that PSNR stays finite (120 dB)


def mse(clean: Image, image: Image) -> float:
    """Return the mean squared error. Both images: (H, W) floating point in [0, 1]."""
    total = 0.0
    for strip in row_strips(clean.shape[0]):
        difference = np.asarray(clean[strip], dtype=np.float64) - np.asarray(image[strip], dtype=np.float64)
        total += float((difference**2).sum())
    return total / float(clean.size)


def largest_difference(found: Image, expected: Image) -> float:
    """Return the largest absolute difference of two arrays; infinite if shapes differ or a value is not finite.

    Use it wherever two arrays must be proven equal: `max` and `<=` silently let NaN pass.
    """
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    return float(np.abs(found - expected).max(initial=0.0))


def psnr(clean: Image, image: Image) -> float:
    """Return the peak signal-to-noise ratio in dB for peak value 1; equal images give 120 dB.

    Both images: (H, W) floating point in [0, 1].
    """
    return psnr_of_mse(mse(clean, image))


def psnr_of_mse(error: float) -> float:
    """Convert a mean squared error of pixels in [0, 1] to PSNR in dB."""
    return float(-10 * np.log10(np.maximum(error, PERFECT_MSE)))  # unlike max, np.maximum propagates NaN


def ssim(clean: Image, image: Image) -> float:
    """Return the structural similarity (Wang et al., IEEE TIP 13(4), 2004): Gaussian window of 1.5 px, data range 1.

    Both images: (H, W) floating point in [0, 1]. Images smaller than the 11 px window are compared as a whole.
    """
    height, width = clean.shape
    if min(height, width) <= 2 * SSIM_RADIUS:
        a, b = (np.asarray(i, dtype=np.float64) for i in (clean, image))
        return float(_ssim_map(a.mean(), b.mean(), (a * a).mean(), (b * b).mean(), (a * b).mean()))
    inner = slice(SSIM_RADIUS, -SSIM_RADIUS)
    total = 0.0
    for strip in row_strips(height - 2 * SSIM_RADIUS):
        rows = slice(strip.start, strip.stop + 2 * SSIM_RADIUS)
        a, b = (np.asarray(i[rows], dtype=np.float64) for i in (clean, image))
        means = (_gaussian(x) for x in (a, b, a * a, b * b, a * b))
        total += float(_ssim_map(*means)[inner, inner].sum())
    return total / float((height - 2 * SSIM_RADIUS) * (width - 2 * SSIM_RADIUS))


def _gaussian(image: NDArray[np.float64]) -> NDArray[np.float64]:
    side = 2 * SSIM_RADIUS + 1
    return np.asarray(cv2.GaussianBlur(image, (side, side), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT))


def _ssim_map(
    mean_a: NDArray[np.float64],
    mean_b: NDArray[np.float64],
    mean_aa: NDArray[np.float64],
    mean_bb: NDArray[np.float64],
    mean_ab: NDArray[np.float64],
) -> NDArray[np.float64]:
    covariance = mean_ab - mean_a * mean_b
    variances = mean_aa - mean_a**2 + mean_bb - mean_b**2
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    return np.asarray(luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2))
