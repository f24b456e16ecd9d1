"""Measure how much of a small object's contrast a method preserves, and how it changes flat areas.

A faint insert is added to X-rays, the same noise to the images with and without it, both are denoised, and the
difference is projected on the insert: 1 preserves all of it, 0 erases it, above 1 exaggerates it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.shared_draws import BRIGHTNESS_BANDS, errors_by_brightness
from cxr_train.comparison import DenoisingMethod, NoiseT, run
from cxr_train.noise import round_to_steps, saturating_mottle

Expose = Callable[[FloatImage, np.random.Generator], tuple[FloatImage, NoiseT]]

SPACING = 72  # px between inserts
MARGIN = 60  # px kept free at the border
BRIGHTNESS = (0.2, 0.8)  # range of the surroundings' mean, so that the insert is not clipped
LINE_LENGTH = 50  # px
SURROUNDINGS = 24  # px, half the side of the surroundings
FLAT_SIDE = 512  # px
FLAT_BRIGHTNESS = (0.2, 0.5, 0.8)
LAGS = 8  # px, largest shift of the residual's autocorrelation


def nodule(x: FloatImage, y: FloatImage) -> FloatImage:
    """A Gaussian of 4 px standard deviation, 14 of 255 gray levels brighter."""
    return np.asarray(np.exp(-(x**2 + y**2) / (2 * 4.0**2)) * 14 / 255, dtype=np.float32)


def line(width: float, levels: float) -> Callable[[FloatImage, FloatImage], FloatImage]:
    """Return an oblique line with profile exp(-(distance / width)^2)."""

    def draw(x: FloatImage, y: FloatImage) -> FloatImage:
        across, along = 0.88 * x - 0.47 * y, 0.47 * x + 0.88 * y
        profile = np.exp(-((across / width) ** 2)) * np.clip((LINE_LENGTH / 2 - np.abs(along)) / 2, 0, 1)
        return np.asarray(profile * levels / 255, dtype=np.float32)

    return draw


def marker(x: FloatImage, y: FloatImage) -> FloatImage:
    """A letter of 13 px with strokes of about 2 px, 90 gray levels darker."""
    drawn = np.zeros(x.shape, np.uint8)
    row, column = np.unravel_index(np.argmin(x**2 + y**2), x.shape)
    corner = (int(column) - 6, int(row) + 6)
    cv2.putText(drawn, "R", corner, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
    return np.asarray(drawn * np.float32(-90 / 255**2), dtype=np.float32)


INSERTS: Mapping[str, Callable[[FloatImage, FloatImage], FloatImage]] = {
    "nodule, +14": nodule,
    "1.5 px line, +18": line(1.5, 18),
    "1 px dark line, -20": line(1.0, -20),
    "marker, -90": marker,
}


def places(clean: FloatImage) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of inserts: on a grid, where the surroundings are neither black nor white."""
    height, width = clean.shape
    for row in range(MARGIN, height - MARGIN + 1, SPACING):
        for column in range(MARGIN, width - MARGIN + 1, SPACING):
            around = clean[row - SURROUNDINGS : row + SURROUNDINGS, column - SURROUNDINGS : column + SURROUNDINGS]
            if BRIGHTNESS[0] < around.mean() < BRIGHTNESS[1]:
                yield row, column


def lay_inserts(clean: FloatImage, draw: Callable[[FloatImage, FloatImage], FloatImage]) -> FloatImage:
    """Return the image with one insert at every place, clipped to [0, 1]."""
    y, x = np.mgrid[: clean.shape[0], : clean.shape[1]].astype(np.float32)
    total = np.zeros_like(clean)
    for row, column in places(clean):
        total += draw(x - column, y - row)
    return np.clip(clean + total, 0, 1)


def mottle_of(white: float) -> Expose[float]:
    """Return saturating mottle of `white` photons at white; a method is told only that number."""
    return lambda clean, rng: (saturating_mottle(clean, white, rng), white)


def contrast_kept(
    images: Sequence[FloatImage],
    method: Callable[[FloatImage, NoiseT], FloatImage],
    expose: Expose[NoiseT],
    seed: int = 0,
) -> dict[str, float]:
    """Return the fraction of each insert's contrast that a method preserves: mean over the images with room for it.

    expose: clean (H, W) in [0, 1] and a generator -> the noisy image, and what the method is told about the noise.
    """
    kept: dict[str, list[float]] = {name: [] for name in INSERTS}
    for index, clean in enumerate(images):
        noisy, told = expose(clean, np.random.default_rng([seed, index]))
        noise = noisy - clean
        without = run(method, round_to_steps(clean + noise), told)
        for name, draw in INSERTS.items():
            marked = lay_inserts(clean, draw)
            insert = marked - clean
            if energy := float((insert**2).sum()):
                difference = run(method, round_to_steps(marked + noise), told) - without
                kept[name].append(float((difference * insert).sum()) / energy)
    return {name: float(np.mean(values)) for name, values in kept.items() if values}


def flat_field(method: DenoisingMethod, white: float, seed: int = 0) -> dict[str, float]:
    """Return what a method does to a flat field with mottle, the worst of three brightnesses.

    grain_left: standard deviation of the result, gray levels. residual_correlation: largest absolute autocorrelation of
    (input - output) at shifts of 1 to 8 px; white noise of this size has 0.01.
    """
    grain, correlation = [], []
    for brightness in FLAT_BRIGHTNESS:
        flat = np.full((FLAT_SIDE, FLAT_SIDE), brightness, np.float32)
        noisy = round_to_steps(saturating_mottle(flat, white, np.random.default_rng(seed)))
        denoised = run(method, noisy, white)
        grain.append(255 * float(denoised.std(dtype=np.float64)))
        correlation.append(residual_correlation(noisy - denoised))
    return {"grain_left": max(grain), "residual_correlation": max(correlation)}


def residual_correlation(residual: FloatImage) -> float:
    """Return the largest absolute autocorrelation at shifts of up to 8 px in either direction, 0 without a residual."""
    centred = residual.astype(np.float64) - residual.mean(dtype=np.float64)
    power = np.abs(np.fft.rfft2(centred)) ** 2
    correlation = np.fft.irfft2(power, s=residual.shape)
    if correlation[0, 0] <= 0:
        return 0.0
    near = np.concatenate([correlation[: LAGS + 1], correlation[-LAGS:]])
    near = np.concatenate([near[:, : LAGS + 1], near[:, -LAGS:]], axis=1) / correlation[0, 0]
    near[0, 0] = 0
    return float(np.abs(near).max())


def brightness_shift(pairs: Sequence[tuple[FloatImage, FloatImage]]) -> list[tuple[float, float, float]]:
    """Return the mean error per band of clean gray level over (clean, denoised) images.

    Each entry: (fraction of the pixels, lower end of the band, mean of denoised - clean), both in gray levels of 255;
    pixels that are white in the clean image are a separate band at 255.
    """
    total, count = np.sum([errors_by_brightness(clean, denoised) for clean, denoised in pairs], axis=0).T
    lower = [*(index * 256 / BRIGHTNESS_BANDS for index in range(BRIGHTNESS_BANDS)), 255.0]
    return [(count[i] / count.sum(), lower[i], total[i] / count[i]) for i in range(BRIGHTNESS_BANDS + 1) if count[i]]
