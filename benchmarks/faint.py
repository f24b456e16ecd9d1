"""Measure how much a method leaves of noise so faint that it may be taken for texture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from cxr_infer.imaging.pixels import FloatImage
from cxr_train.comparison import run

SDS = (1.0, 1.5, 2.0)  # gray levels of 255
SMOOTHED = 2.0  # px, Gaussian that removes an X-ray's own noise and finest texture


def halved(image: FloatImage) -> FloatImage:
    """Halve the sides by averaging, which halves the X-ray's own noise."""
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.float32)


def smoothed(image: FloatImage) -> FloatImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), SMOOTHED), dtype=np.float32)


def variance_left(
    images: Sequence[FloatImage], method: Callable[[FloatImage, None], FloatImage], sd: float, seed: int = 0
) -> float:
    """Return the fraction of the variance of faint white noise left after denoising, mean over the images.

    The clean image x, and x + n with Gaussian noise n of standard deviation sd (gray levels of 255), clipped to [0, 1],
    are both denoised, f(x) and f(x + n), by a method told nothing about the noise. The fraction is var(f(x + n) - f(x))
    / var(n): the method's effect on the image itself cancels, and 1 means that the noise was left unchanged.
    """
    shares = []
    for index, clean in enumerate(images):
        noise = np.random.default_rng([seed, index]).normal(0, sd / 255, clean.shape)
        noisy = np.clip(clean + noise, 0, 1).astype(np.float32)
        difference = run(method, noisy, None).astype(np.float64) - run(method, clean, None)
        shares.append(difference.var() / noise.var())
    return float(np.mean(shares))
