"""Repeated exposures of one phantom or patient: at least two frames that differ only by noise.

Their differences are pure noise, whatever the image shows. They give the noise curve, the spectrum and the true error
of a denoised frame without a clean image. Frames with other differences are refused, since every difference would count
as noise. Frames are (H, W) float32 in [0, 1], stacked (K, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.imaging.noise_curve import MOST_SATURATED
from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.jackknife import mean_estimate
from cxr_infer.lab.noise import SPECTRUM_SIDE, DetectorNoise
from cxr_infer.lab.noise_power import noise_power

SMALLEST = 64  # px a side
FARTHEST = 32  # px, largest shift of a frame; it is undone by whole pixels, which preserves the noise
LARGEST_GAIN = 1.05  # largest ratio of two frames' brightness; they are then brought to one scale
TILE = 128  # px, side of the parts examined for movement
MOST_MOVED, MOST_MOVED_TILE = (
    0.05,
    0.25,
)  # fraction of the difference's variance explained by movement: overall, in a part
BLOCK, LARGE_BLOCK = 16, 64  # px
ROUNDING = 1e-6  # error of scaling a frame; the last of 16 bits is 15 times larger
MOST_SHADED = 0.05  # fraction of the difference's variance in the means of large blocks
EDGE_WIDTH = 1.0  # px, blur before taking slopes
BINS, LEAST_BLOCKS = 16, 12  # bins of brightness, and blocks required in each


@dataclass(frozen=True)
class Frames:
    """Frames of one object on one scale. stack: (K, H, W) float32 in [0, 1]. names: of the files."""

    stack: NDArray[np.float32]
    names: tuple[str, ...]

    @property
    def mean(self) -> FloatImage:
        return np.asarray(self.stack.mean(axis=0, dtype=np.float64), dtype=np.float32)

    @property
    def variance(self) -> Float64Array:
        """Unbiased variance of one frame's noise, (H, W)."""
        return np.asarray(self.stack.var(axis=0, ddof=1, dtype=np.float64))

    def differences(self) -> list[Float64Array]:
        """Return pure noise as strong as one frame's: frame 1 minus 2, 3 minus 4, and so on, divided by sqrt 2."""
        stack = self.stack.astype(np.float64)
        return [(stack[k] - stack[k + 1]) / np.sqrt(2) for k in range(0, len(stack) - 1, 2)]


def register(images: Sequence[FloatImage], names: Sequence[str]) -> Frames:
    """Align frames by whole pixels, bring them to one scale, and check that they differ only by noise.

    images: (H, W) float32 in [0, 1]. names: for messages. Raises UsageError if they differ by more.
    """
    if len(images) < 2:
        raise UsageError("repeated exposures need at least two frames of one object; give another file")
    first = images[0]
    for image, name in zip(images, names, strict=True):
        if image.shape != first.shape:
            raise UsageError(
                f"{name}: {image.shape[1]}x{image.shape[0]} px, but {names[0]} has {first.shape[1]}x{first.shape[0]}; "
                "give frames of one object and one detector"
            )
    if min(first.shape) < SMALLEST:
        raise UsageError(f"{names[0]}: too small for repeated exposures; give frames of at least {SMALLEST} px a side")
    shifts = [_shift(first, image, name) for image, name in zip(images, names, strict=True)]
    placed = _in_one_place(images, shifts)
    scaled = [
        placed[0],
        *(_on_scale(placed[0], image, name) for image, name in zip(placed[1:], names[1:], strict=True)),
    ]
    for image, name in zip(scaled[1:], names[1:], strict=True):
        _check_alike(scaled[0], image, f"{names[0]} and {name}")
    return Frames(np.stack(scaled), tuple(names))


def _shift(first: FloatImage, image: FloatImage, name: str) -> tuple[int, int]:
    """Return the shift of an image in rows and columns, to whole pixels (phase correlation)."""
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_64F)
    edges = [each.astype(np.float64) - cv2.GaussianBlur(each, (0, 0), 4.0) for each in (first, image)]
    (across, down), _ = cv2.phaseCorrelate(edges[0], edges[1], window)
    shift = round(down), round(across)
    placed = _in_one_place([first, image], [(0, 0), shift])
    before, after = (float(np.subtract(*pair, dtype=np.float64).var()) for pair in ((first, image), placed))
    if (
        after > (1 - MOST_MOVED) * before
    ):  # the shift explains nothing: without edges, as in flat fields, none can be found
        return 0, 0
    if max(map(abs, shift)) > FARTHEST:
        raise UsageError(
            f"{name}: shows another object, or is shifted by more than {FARTHEST} px; give frames of one object"
        )
    return shift


def _in_one_place(images: Sequence[FloatImage], shifts: Sequence[tuple[int, int]]) -> list[FloatImage]:
    """Crop all images to their common part."""
    height, width = images[0].shape
    ends = [(min(s[axis] for s in shifts), max(s[axis] for s in shifts)) for axis in range(2)]
    rows, columns = (length - (high - low) for length, (low, high) in zip((height, width), ends, strict=True))
    return [
        image[s[0] - ends[0][0] :][:rows, s[1] - ends[1][0] :][:, :columns]
        for image, s in zip(images, shifts, strict=True)
    ]


def _on_scale(first: FloatImage, image: FloatImage, name: str) -> FloatImage:
    """Scale an image to the first one's brightness: X-ray tubes do not repeat an exposure exactly."""
    here, there = (blocks(each, BLOCK).ravel() for each in (first, image))
    noise = float(np.diff(first.astype(np.float64) - image, axis=1).std()) / 2  # per pixel, if it is white
    if here.std() <= noise:  # flat fields: a line would be fitted to noise
        gain = float(here.mean() / max(there.mean(), 1e-9))
        offset = 0.0
    else:
        gain = float(np.cov(here, there)[0, 1] / max(there.var(ddof=1), 1e-12))
        offset = float(here.mean() - gain * there.mean())
    level = abs(float(here.mean() - there.mean())) / max(float(here.mean()), 1e-6)
    if not 1 / LARGEST_GAIN <= gain <= LARGEST_GAIN or level > LARGEST_GAIN - 1:
        raise UsageError(
            f"{name}: differs in brightness by more than {LARGEST_GAIN - 1:.0%} from the first frame, or shows another "
            "object; give frames of one object and one dose"
        )
    return np.asarray(gain * image + np.float32(offset), dtype=np.float32)


def _check_alike(first: FloatImage, image: FloatImage, names: str) -> None:
    """Raise UsageError if edges moved between the frames, or broad parts changed in brightness."""
    difference = first.astype(np.float64) - image
    variance = float(difference.var())
    if variance <= ROUNDING**2:
        raise UsageError(f"{names}: identical images; give separate exposures")
    moved, where = moved_share(first, image)
    if moved > MOST_MOVED or where is not None:
        place = f" near row {where[0]}, column {where[1]}" if where else ""
        raise UsageError(f"{names}: differ by more than noise, something moved{place}; give frames without movement")
    side = max(min(LARGE_BLOCK, min(first.shape) // 8), 4)
    if blocks(difference, side).var() > MOST_SHADED * variance:
        raise UsageError(
            f"{names}: differ by more than noise, in the brightness of broad areas; give frames of the same exposure"
        )


def moved_share(first: FloatImage, image: FloatImage) -> tuple[float, tuple[int, int] | None]:
    """Return the fraction of the difference's variance explained by shifts of parts, and the part that moved most.

    A small shift adds the shift times the slope of the image. Each part's shift is found by least squares.
    """
    mean = cv2.GaussianBlur((first.astype(np.float64) + image) / 2, (0, 0), EDGE_WIDTH)
    slopes = np.stack(np.gradient(mean))
    difference = first.astype(np.float64) - image
    explained = total = 0.0
    worst, where = MOST_MOVED_TILE, None
    for top in range(0, len(first), TILE):
        for left in range(0, first.shape[1], TILE):
            part = np.s_[top : top + TILE, left : left + TILE]
            rest = (difference[part] - difference[part].mean()).ravel()
            slope = slopes[(slice(None), *part)].reshape(2, -1).T
            fitted = slope @ np.linalg.lstsq(slope, rest, rcond=None)[0]
            explained, total = explained + float(fitted @ fitted), total + float(rest @ rest)
            share = float(fitted @ fitted) / max(float(rest @ rest), 1e-30)
            if share > worst:
                height, width = difference[part].shape
                worst, where = share, (top + height // 2, left + width // 2)
    return explained / max(total, 1e-30), where


def blocks(image: NDArray[np.floating], side: int) -> Float64Array:
    """Return the means of whole blocks: (rows, columns)."""
    rows, columns = (length // side for length in image.shape)
    whole = image[: rows * side, : columns * side].astype(np.float64)
    return np.asarray(whole.reshape(rows, side, columns, side).mean(axis=(1, 3)))


@dataclass(frozen=True)
class NoiseCurve:
    """Noise against brightness: brightness in [0, 1], and standard deviation in the same units."""

    brightness: tuple[float, ...]
    sd: tuple[Estimate, ...]


def noise_curve(frames: Frames) -> NoiseCurve:
    """Return the standard deviation of one frame's noise at each brightness, from blocks without saturated pixels.

    Raises ImageError if no brightness has LEAST_BLOCKS blocks.
    """
    mean, variance = blocks(frames.mean, BLOCK).ravel(), blocks(frames.variance, BLOCK).ravel()
    saturated = ((frames.stack <= 0) | (frames.stack >= 1)).mean(axis=0)
    usable = (blocks(saturated, BLOCK).ravel() <= MOST_SATURATED) & (variance > 0)
    bins = np.clip(mean * BINS, 0, BINS - 1).astype(np.intp)
    brightness, sd = [], []
    for number in range(BINS):
        inside = usable & (bins == number)
        if np.count_nonzero(inside) >= LEAST_BLOCKS:
            found = mean_estimate(variance[inside])
            brightness.append(float(mean[inside].mean()))
            sd.append(Estimate(*(float(np.sqrt(max(end, 0.0))) for end in (found.value, found.low, found.high))))
    if not brightness:
        raise ImageError(
            f"{frames.names[0]}: too few blocks to measure noise: no brightness has {LEAST_BLOCKS} unsaturated blocks "
            f"of {BLOCK} px; give larger or other frames"
        )
    return NoiseCurve(tuple(brightness), tuple(sd))


def detector_of_frames(frames: Frames) -> DetectorNoise:
    """Return the user's own detector: curve and spectrum measured in repeated exposures."""
    curve = noise_curve(frames)
    power = noise_power(frames.differences(), SPECTRUM_SIDE).values
    return DetectorNoise(power / power.mean(), np.array([curve.brightness, [each.value for each in curve.sd]]).T)
