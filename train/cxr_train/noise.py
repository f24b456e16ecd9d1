"""Add noise to clean images. Every function draws only from the generator it is given.

Sources: the published work's notebook (`published_mottle`); Poisson statistics of photon counts; a detector with
Beer-Lambert log display, correlated quantum noise and electronic noise (Foi et al., IEEE TIP 17(10), 2008, for
Poisson-Gaussian sensors).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.pixels import ByteImage, FloatImage

PUBLISHED_PHOTONS_AT_WHITE = 255 * 250 / 900  # 70.83


def published_mottle(clean: ByteImage, rng: np.random.Generator, *, wrap: bool) -> ByteImage:
    """Add the published mottle, poisson(v / 900 * 250) / 250 * 900 on 8-bit pixels v, reproducible to the bit.

    clean: uint8 of any shape. wrap=True casts to uint8 as published, so that values above 255 wrap to near black;
    wrap=False rounds and saturates at 255, as a detector does. Never train `window` on wrapped pixels: it then learns
    to erase lead markers, tube lines and clips (measured). Returns uint8 of the same shape.
    """
    noisy = rng.poisson(clean / 900.0 * 250) / 250.0 * 900.0
    if wrap:
        return (noisy.astype(np.int64) % 256).astype(np.uint8)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def saturating_mottle(clean: FloatImage, white: ArrayLike, rng: np.random.Generator) -> FloatImage:
    """Add Poisson mottle that saturates at 1, as in a detector.

    clean: any shape, [0, 1]. white: photons at pixel value 1, broadcast against `clean`. Returns float32 in [0, 1].
    """
    return np.minimum(poisson_mottle(clean, white, rng), np.float32(1.0))


def round_to_steps(image: FloatImage, steps: int = 255) -> FloatImage:
    """Round pixels in [0, 1] to the steps of an integer file (255 for 8 bit)."""
    return np.rint(np.clip(image, 0, 1) * np.float32(steps)) / np.float32(steps)


@dataclass(frozen=True)
class Detector:
    """A digital detector with a logarithmic display, in which bone is bright and bright means few photons.

    density: optical density range D of the display; photons = exposure * exp(-D * pixel).
    exposure: photons N0 at a black pixel.
    blur: standard deviation in px of the spread of quanta in the scintillator.
    electronic: standard deviation of the read-out noise, photons.
    """

    density: float
    exposure: float
    blur: float = 0.0
    electronic: float = 0.0

    @staticmethod
    def draw(rng: np.random.Generator) -> Detector:
        """Draw a random detector: density 2.5 to 4.6, exposure 200 to 20 000, blur up to 1.3 px, electronic 1 to 5."""
        return Detector(
            density=rng.uniform(2.5, 4.6),
            exposure=float(np.exp(rng.uniform(np.log(200), np.log(20000)))),
            blur=rng.uniform(0.0, 1.3),
            electronic=rng.uniform(1.0, 5.0),
        )

    def sd(self, clean: FloatImage) -> FloatImage:
        """Return the standard deviation of the noise of `expose`, (H, W) like `clean`, linearising the logarithm."""
        photons = self.exposure * np.exp(-self.density * clean.astype(np.float64))
        return np.asarray(np.sqrt(photons + self.electronic**2) / (photons * self.density), dtype=np.float32)

    def expose(
        self, clean: FloatImage, rng: np.random.Generator, quanta: NDArray[np.float64] | None = None
    ) -> FloatImage:
        """Expose a clean display image once.

        clean: (H, W) float32 in [0, 1]. quanta: standard normal noise (H, W) to use instead of `blur`.
        Returns (H, W) float32 in [0, 1], saturated at both ends:

            I  = exposure * exp(-density * clean)
            I' = I + sqrt(I) * (g conv k) + electronic * g2,   k Gaussian of `blur` px with unit L2 norm
            noisy = -ln(max(I', 1) / exposure) / density
        """
        photons = self.exposure * np.exp(-self.density * clean.astype(np.float64))
        quanta = correlated_normal(clean.shape, self.blur, rng) if quanta is None else quanta
        counted = photons + np.sqrt(photons) * quanta + self.electronic * rng.standard_normal(clean.shape)
        noisy = -np.log(np.maximum(counted, 1.0) / self.exposure) / self.density
        return np.clip(noisy, 0.0, 1.0).astype(np.float32)


def correlated_mottle(clean: FloatImage, white: float, blur: float, rng: np.random.Generator) -> FloatImage:
    """Add quantum mottle spread by a Gaussian of `blur` px: variance clean / white, correlated, saturated.

    clean: (H, W) float32 in [0, 1]. white: photons at pixel value 1. Returns the same shape and range.
    """
    noise = np.sqrt(clean / white) * correlated_normal(clean.shape, blur, rng)
    return np.clip(clean + noise, 0, 1).astype(np.float32)


def correlated_normal(shape: tuple[int, ...], blur: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return standard normal noise of shape (H, W), spread by a Gaussian of `blur` px that keeps its variance at 1."""
    white = rng.standard_normal(shape)
    if blur <= 0:
        return white
    radius = int(np.ceil(4 * blur))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / blur) ** 2)
    taps /= np.sqrt((taps**2).sum())
    return np.asarray(cv2.sepFilter2D(white, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REFLECT_101))
