"""Noise as detectors make it, drawn at random: any smooth spectrum, any smooth curve of noise against brightness.

Measured radiographs have noise that the scintillator correlates (a white share and a width along each axis), whose
variance grows with brightness by a power of -0.4 to +2.8 or along an S-shaped curve, and that vendors sharpen, shrink
or enlarge. The ranges here are wider than those measured, so that a network meets the next detector prepared.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage

CELL = 8  # px, side of the squares for which the noise is described
SHAPE_SCALES = (2, 4, 8)  # px, sides of the squares over which noise is averaged to tell its shape
SHAPES = len(SHAPE_SCALES) + 2  # numbers that tell the shape of noise, see `shape_of`

SD_RANGE = (0.4, 40.0)  # gray levels of 255, root mean square over a crop, log-uniform
USUAL_SD_RANGE, USUAL_SHARE = (1.8, 14.0), 0.55  # likewise, and the share of crops that are within by intent
KNOTS = 33  # of a curve, evenly spaced over [0, 1]
LEAST_SD, MOST_SD = 0.15, 4.0  # of a curve, in units of its root mean square
MOST_WIDTH = 2.5  # px, of the Gaussian part of a spectrum
MOST_FACTOR = 6.0  # enlargement after the exposure
REACH = 32  # px, by which noise is drawn beyond a crop, so that its opposite edges are not correlated


@dataclass(frozen=True)
class Exposed:
    """A crop with noise and what is true of that noise.

    noisy, clean: (H, W) float32 in [0, 1], after the same processing. level: (H / CELL, W / CELL) float32, root mean
    square of the local standard deviation of sqrt(pixel). shape: (SHAPES,) float32, see `shape_of`.
    """

    noisy: FloatImage
    clean: FloatImage
    level: FloatImage
    shape: FloatImage


@dataclass(frozen=True)
class Recipe:
    """How a detector and what follows it make noise; the same for every image that it is applied to.

    sd: root mean square over the image, [0, 1] units. curve: (KNOTS,) relative local sd against brightness.
    field: (side, side) float32, noise of variance 1. sharpening: share of the detail finer than `radius` px that is
    added after the exposure. factor: of enlargement after it. gamma: exponent of the display.
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
        """Random noise for crops of `side` px, no stronger than `most_sd` gray levels."""
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
        """One exposure of a square crop (S, S) float32 in [0, 1]; S / CELL is whole.

        like: the crop by whose brightness the noise is as strong as it is, where that is another: the same noise is
        then added to both.
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
        unit = noise / np.maximum(sd, 1e-6)  # enlarged, it is no longer of variance 1; sharpened, more
        strength = float(np.sqrt(np.mean(unit**2)))
        if self.factor > 1 or self.sharpening:  # its strength is what is asked for after all of this
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
    """Standard deviation of sqrt(pixel) where pixels of brightness `clean` have noise of `sd`; same shapes.

    sd / (2 sqrt(clean)) where pixels are bright beside their noise (Bartlett 1936). At black it goes over into
    0.35 sqrt(sd), three quarters of what the roots of clipped noise spread by, so that it never grows without bound.
    """
    return _float(sd / (2 * np.sqrt(np.sqrt(clean * clean + 4 * sd * sd) + np.float32(1e-6))))


def cells(level: FloatImage) -> FloatImage:
    """Root mean square over squares of CELL px: (H, W) -> (H / CELL, W / CELL)."""
    height, width = (extent // CELL for extent in level.shape)
    return _float(np.sqrt(cv2.resize(level * level, (width, height), interpolation=cv2.INTER_AREA)))


def shape_of(noise: FloatImage) -> FloatImage:
    """What the spectrum of a field of noise (S, S) is like, in SHAPES numbers that are 0 for white noise.

    For each of SHAPE_SCALES k the logarithm of how much stronger than those of white noise means over k x k px are:
    log(k * sd(means) / sd), above 0 where noise is correlated, below where it is sharpened. Then the correlation of
    neighbours across and down.
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
    """A random smooth curve of local sd against brightness, (KNOTS,) over [0, 1], relative."""
    brightness, kind = np.linspace(0, 1, KNOTS), rng.random()
    if kind < 0.3:  # photons
        curve = np.sqrt(brightness + 0.01)
    elif kind < 0.55:  # a power, as look-up tables make it
        curve = (brightness + 0.03) ** (rng.uniform(-0.6, 3.0) / 2)
    elif kind < 0.7:  # photons behind a logarithm
        curve = np.exp(rng.uniform(0, 4.0) * brightness / 2)
    else:  # whatever processing leaves
        knots = np.exp(0.45 * np.cumsum(rng.standard_normal(6)))
        curve = np.exp(np.interp(brightness, np.linspace(0, 1, 6), np.log(knots)))
        curve = np.convolve(np.pad(curve, 3, mode="edge"), np.hanning(9)[1:-1] / np.hanning(9).sum(), mode="valid")
    if rng.random() < 0.2:  # an S-shaped look-up table: steep in the middle
        middle, width = rng.uniform(0.25, 0.75), rng.uniform(0.12, 0.4)
        curve = curve * (0.25 + 1 / np.cosh((brightness - middle) / width) ** 2)
    strength = np.sqrt(np.mean(curve**2))
    return np.asarray(np.clip(curve, LEAST_SD * strength, MOST_SD * strength))


def draw_field(side: int, rng: np.random.Generator) -> FloatImage:
    """Gaussian noise (side, side) float32 of variance 1 with a random smooth spectrum."""
    padded = cv2.getOptimalDFTSize(side + REACH)
    white = rng.standard_normal((padded, padded), dtype=np.float32)
    if rng.random() < 0.12:
        return np.ascontiguousarray(white[:side, :side])
    amplitude = np.sqrt(_draw_spectrum(padded, rng)).astype(np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=white.shape)[:side, :side].astype(np.float32)
    if rng.random() < 0.05:  # lines of a read-out
        lines = rng.standard_normal((side, 1)).astype(np.float32) * np.float32(rng.uniform(0.1, 0.4) * field.std())
        field = field + (lines if rng.random() < 0.5 else lines.T)
    return _float(field / field.std())


def _draw_spectrum(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """a + (1 - a) * G(u, v), power of an rfft2 (side, side // 2 + 1); G is 1 at 0 and falls with a width per axis."""
    # little of it, most often: what is white is electronics and rounding
    share = 0.5 * rng.random() ** 2 if rng.random() < 0.8 else rng.uniform(0, 1)
    across = rng.uniform(0.2, 1.3) if rng.random() < 0.85 else rng.uniform(0, MOST_WIDTH)
    down = across * np.exp(0.12 * rng.standard_normal()) if rng.random() < 0.65 else rng.uniform(0, MOST_WIDTH * 0.7)
    v, u = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    reach = 4 * np.pi**2 * (u**2 * across**2 + v**2 * down**2)
    # a Gaussian, or one of the longer tails of light in thick scintillators
    fall = np.exp(-reach) if rng.random() < 0.6 else (1 + reach) ** -rng.uniform(1.0, 2.5)
    # what structured screens and grids leave: somewhat more at low frequencies
    slow = 1 + rng.uniform(0, 1.5) * np.exp(-(u**2 + v**2) / (2 * 0.04**2)) if rng.random() < 0.3 else 1.0
    return np.asarray((share + (1 - share) * fall) * slow)
