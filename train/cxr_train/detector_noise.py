"""Draw random noise as detectors produce it: any smooth spectrum, any smooth curve of noise against brightness.

In measured radiographs the scintillator correlates the noise (a white fraction and a width per axis), its variance
grows with a power of brightness from -0.4 to +2.8 or along an S-shaped curve, and vendors sharpen, shrink or enlarge.
The ranges here are wider than measured, to prepare a network for new detectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage

CELL = 8  # px, side of the cells in which the noise is described
SHAPE_SCALES = (2, 4, 8)  # px, sides of the squares over which noise is averaged to describe its shape
SHAPES = len(SHAPE_SCALES) + 2  # numbers that describe the shape of noise, see `shape_of`

SD_RANGE = (0.4, 40.0)  # gray levels of 255, root mean square over a crop, log-uniform
USUAL_SD_RANGE, USUAL_SHARE = (1.8, 14.0), 0.55  # the same, and the fraction of crops drawn from this range
KNOTS = 33  # knots of a curve, evenly spaced over [0, 1]
LEAST_SD, MOST_SD = 0.15, 4.0  # of a curve, in units of its root mean square
MOST_WIDTH = 2.5  # px, of the Gaussian part of a spectrum
MOST_FACTOR = 6.0  # enlargement after the exposure
REACH = 32  # px of noise beyond a crop, so that its opposite edges are not correlated


@dataclass(frozen=True)
class Exposed:
    """A crop with noise, and the truth about that noise.

    noisy, clean: (H, W) float32 in [0, 1], after the same processing. level: (H / CELL, W / CELL) float32, root mean
    square of the local standard deviation of sqrt(pixel). shape: (SHAPES,) float32, see `shape_of`.
    """

    noisy: FloatImage
    clean: FloatImage
    level: FloatImage
    shape: FloatImage


@dataclass(frozen=True)
class Recipe:
    """The noise of a detector and its processing; the same for every image it is applied to.

    sd: root mean square over the image, [0, 1] units. curve: (KNOTS,) relative local sd against brightness. field:
    (side, side) float32, noise of variance 1. sharpening: fraction of the detail finer than `radius` px that is added
    after the exposure. factor: of enlargement after it. gamma: exponent of the display.
    """

    sd: float
    curve: NDArray[np.float64]
    field: FloatImage
    sharpening: float = 0.0
    radius: float = 1.0
    factor: float = 1.0
    gamma: float = 1.0

    @staticmethod
    def draw(side: int, rng: np.random.Generator, most_sd: float = SD_RANGE[1]) -> Recipe:
        """Draw random noise for crops of `side` px, at most `most_sd` gray levels strong."""
        factor = float(rng.uniform(1.5, MOST_FACTOR)) if rng.random() < 0.08 else 1.0
        small = int(np.ceil(side / factor))
        usual = most_sd > USUAL_SD_RANGE[1] and rng.random() < USUAL_SHARE
        low, high = np.log(USUAL_SD_RANGE if usual else (SD_RANGE[0], most_sd))
        sharpened = rng.random() < 0.28
        return Recipe(
            sd=float(np.exp(rng.uniform(low, high))) / 255,
            curve=draw_curve(rng),
            field=draw_field(small, rng),
            sharpening=float(rng.uniform(0.3, 2.5)) if sharpened else 0.0,
            radius=float(rng.uniform(0.8, 4.0)),
            factor=factor,
            gamma=float(np.exp(0.3 * rng.standard_normal())) if rng.random() < 0.15 else 1.0,
        )

    def expose(self, clean: FloatImage, like: FloatImage | None = None) -> Exposed:
        """Add the noise to a square crop (S, S) float32 in [0, 1]; S must be a multiple of CELL.

        like: another crop whose brightness sets the strength of the noise, so that both crops get the same noise.
        """
        side = clean.shape[0]
        like = clean if like is None else like
        if self.factor > 1:
            clean, like = (_resize(image, len(self.field)) for image in (clean, like))
        sd = np.interp(like, np.linspace(0, 1, KNOTS), self.curve).astype(np.float32)
        sd *= np.float32(self.sd / np.sqrt(np.mean(sd**2)))
        noise = sd * self.field
        if self.factor > 1:
            clean, sd, noise = (_resize(image, side) for image in (clean, sd, noise))
        if self.sharpening:
            clean, noise = (image + self.sharpening * (image - _blur(image, self.radius)) for image in (clean, noise))
        unit = noise / np.maximum(sd, 1e-6)  # enlargement reduces the variance below 1, sharpening increases it
        strength = float(np.sqrt(np.mean(unit**2)))
        if self.factor > 1 or self.sharpening:  # `sd` is the strength after processing
            noise, sd = noise / np.float32(strength), sd / np.float32(strength)
        noisy, clean = _float(np.clip(clean + noise, 0, 1)), _float(np.clip(clean, 0, 1))
        local = _float(sd * np.float32(strength))
        level = level_of(clean, local)
        if self.gamma != 1:
            noisy, shown = noisy ** np.float32(self.gamma), clean ** np.float32(self.gamma)
            slope = self.gamma * shown / np.maximum(clean, np.float32(0.01))
            clean, level = shown, level_of(shown, _float(local * slope))
        return Exposed(noisy, clean, cells(level), shape_of(_float(unit)))


def _resize(image: FloatImage, side: int) -> FloatImage:
    mode = cv2.INTER_AREA if side < image.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side, side), interpolation=mode), dtype=np.float32)


def _blur(image: FloatImage, sigma: float) -> FloatImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)


def _float(image: NDArray[np.floating]) -> FloatImage:
    return np.asarray(image, dtype=np.float32)


def level_of(clean: FloatImage, sd: FloatImage) -> FloatImage:
    """Return the standard deviation of sqrt(pixel) at brightness `clean` with noise of `sd`; same shapes.

    sd / (2 sqrt(clean)) where pixels are bright compared with their noise (Bartlett 1936). At black it approaches
    0.35 sqrt(sd), three quarters of the spread of the roots of clipped noise, so that it stays bounded.
    """
    return _float(sd / (2 * np.sqrt(np.sqrt(clean * clean + 4 * sd * sd) + np.float32(1e-6))))


def cells(level: FloatImage) -> FloatImage:
    """Return the root mean square over squares of CELL px: (H, W) -> (H / CELL, W / CELL)."""
    height, width = (extent // CELL for extent in level.shape)
    return _float(np.sqrt(cv2.resize(level * level, (width, height), interpolation=cv2.INTER_AREA)))


def shape_of(noise: FloatImage) -> FloatImage:
    """Describe the spectrum of a noise field (S, S) by SHAPES numbers, all 0 for white noise.

    For each k of SHAPE_SCALES: log(k * sd(means over k x k px) / sd), above 0 if the noise is correlated, below 0 if it
    is sharpened. Then the correlation of neighbours across and down.
    """
    sd = float(noise.std()) + 1e-9
    told = []
    for scale in SHAPE_SCALES:
        height, width = (extent // scale for extent in noise.shape)
        whole = noise[: height * scale, : width * scale]
        told.append(np.log(scale * cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA).std() / sd + 1e-2))
    across, down = (float(np.mean(a * b)) / sd**2 for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1])))
    return np.array([*told, across, down], dtype=np.float32)


def draw_curve(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a random smooth curve of relative local sd against brightness, (KNOTS,) over [0, 1]."""
    brightness, kind = np.linspace(0, 1, KNOTS), rng.random()
    if kind < 0.3:  # photons
        curve = np.sqrt(brightness + 0.01)
    elif kind < 0.55:  # a power, as from look-up tables
        curve = (brightness + 0.03) ** (rng.uniform(-0.6, 3.0) / 2)
    elif kind < 0.7:  # photons behind a logarithm
        curve = np.exp(rng.uniform(0, 4.0) * brightness / 2)
    else:  # arbitrary processing
        knots = np.exp(0.45 * np.cumsum(rng.standard_normal(6)))
        curve = np.exp(np.interp(brightness, np.linspace(0, 1, 6), np.log(knots)))
        curve = np.convolve(np.pad(curve, 3, mode="edge"), np.hanning(9)[1:-1] / np.hanning(9).sum(), mode="valid")
    if rng.random() < 0.2:  # an S-shaped look-up table: steep in the middle
        middle, width = rng.uniform(0.25, 0.75), rng.uniform(0.12, 0.4)
        curve = curve * (0.25 + 1 / np.cosh((brightness - middle) / width) ** 2)
    strength = np.sqrt(np.mean(curve**2))
    return np.asarray(np.clip(curve, LEAST_SD * strength, MOST_SD * strength))


def draw_field(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw Gaussian noise (side, side) float32 of variance 1 with a random smooth spectrum."""
    padded = cv2.getOptimalDFTSize(side + REACH)
    white = rng.standard_normal((padded, padded), dtype=np.float32)
    if rng.random() < 0.12:
        return np.ascontiguousarray(white[:side, :side])
    amplitude = np.sqrt(_draw_spectrum(padded, rng)).astype(np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=white.shape)[:side, :side].astype(np.float32)
    if rng.random() < 0.05:  # read-out lines
        lines = rng.standard_normal((side, 1)).astype(np.float32) * np.float32(rng.uniform(0.1, 0.4) * field.std())
        field = field + (lines if rng.random() < 0.5 else lines.T)
    return _float(field / field.std())


def _draw_spectrum(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a + (1 - a) * G(u, v), power of an rfft2 (side, side // 2 + 1); G is 1 at 0 and falls with a width per
    axis.
    """
    # usually a small white fraction: electronics and rounding
    share = 0.5 * rng.random() ** 2 if rng.random() < 0.8 else rng.uniform(0, 1)
    across = rng.uniform(0.2, 1.3) if rng.random() < 0.85 else rng.uniform(0, MOST_WIDTH)
    down = across * np.exp(0.12 * rng.standard_normal()) if rng.random() < 0.65 else rng.uniform(0, MOST_WIDTH * 0.7)
    v, u = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    reach = 4 * np.pi**2 * (u**2 * across**2 + v**2 * down**2)
    # a Gaussian, or the longer tails of light in thick scintillators
    fall = np.exp(-reach) if rng.random() < 0.6 else (1 + reach) ** -rng.uniform(1.0, 2.5)
    # structured screens and grids add some low frequencies
    slow = 1 + rng.uniform(0, 1.5) * np.exp(-(u**2 + v**2) / (2 * 0.04**2)) if rng.random() < 0.3 else 1.0
    return np.asarray((share + (1 - share) * fall) * slow)
