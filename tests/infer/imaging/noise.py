"""Noise with a known spectrum and a known curve against brightness."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.noise_shape import Shape

Image = NDArray[np.float64]
Curve = Callable[[Image], Image]

DETECTORS = {  # white share, widths across and down, px: as measured on radiographs
    "white": Shape(),
    "scintillator": Shape(0.2, 0.7, 0.73),
    "phosphor plate": Shape(0.14, 0.64, 0.53),
    "fine phosphor plate": Shape(0.35, 0.7, 0.7),
    "mammography": Shape(0.1, 0.94, 0.97),
    "slot scanner": Shape(0.05, 0.25, 0.85),
}


def field(size: tuple[int, int], shape: Shape, seed: int) -> Image:
    """Gaussian noise of variance 1 with the spectrum of that shape: (H, W)."""
    white = np.random.default_rng(seed).standard_normal(size)
    v, u = (np.fft.fftfreq(side) for side in size)
    power = shape.power(*np.meshgrid(u, v))
    return np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power / power.mean())).real


def exposed(clean: Image, sd: float, shape: Shape, seed: int = 0, curve: Curve = np.ones_like) -> Image:
    """Clean plus noise of `sd` gray levels, root mean square over the image; curve: sd against brightness."""
    local = curve(clean)
    return clean + local * (sd / 255 / np.sqrt(np.mean(local**2))) * field(clean.shape, shape, seed)


def enlarged(image: Image, times: int) -> Image:
    return np.asarray(cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC))


def sharpened(image: Image) -> Image:
    """Unsharp masking, radius 2 px, amount 1.5."""
    return np.asarray(image + 1.5 * (image - cv2.GaussianBlur(image, (0, 0), 2.0)))


def stored(image: Image, bits: int = 8) -> NDArray[np.uint8] | NDArray[np.uint16]:
    largest = (1 << bits) - 1
    return np.rint(np.clip(image, 0, 1) * largest).astype(np.uint8 if bits == 8 else np.uint16)
