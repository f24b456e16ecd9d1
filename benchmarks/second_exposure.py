"""Measure the true error on a real radiograph without a clean image: one phantom, exposed twice.

The noise of the two frames is independent. The mean squared difference between a denoised frame 1 and frame 2 is
therefore the error of the former plus the noise variance of the latter, which is half the mean squared difference of
the two frames. The pair is a 1024x768 kV image of a line-pair phantom (joey5656/pylinac, MIT), two 16-bit PNG files on
one scale with equal means; the images are not part of this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from cxr_infer.errors import DataError, ImageError
from cxr_infer.formats.readers import read_gray
from cxr_infer.imaging.metrics import mse
from cxr_infer.imaging.pixels import FloatImage, to_unit

Region = tuple[slice, slice]  # rows, columns

NAMES = ("kv_phantom_1.png", "kv_phantom_2.png")
SHAPE = (768, 1024)
LEAST_ERROR = 1e-12  # mean square: 120 dB
FINE = 6.0  # px; structure finer than a Gaussian of this width counts as contrast
REGIONS: Mapping[str, Region] = {
    "whole image": np.s_[0:768, 0:1024],
    "phantom": np.s_[150:650, 400:900],
    "line pairs": np.s_[290:480, 430:640],
    "plain part": np.s_[650:760, 700:1000],
}
LINE_PAIRS: Mapping[str, Region] = {
    "middle": np.s_[350:420, 500:570],
    "upper": np.s_[300:350, 570:640],
    "lower left": np.s_[420:480, 450:510],
}


def read_pair(folder: Path) -> tuple[FloatImage, FloatImage]:
    """Read both frames, (768, 1024) float32 in [0, 1]. Raises DataError if they are missing or of another kind."""
    frames = []
    for path in (folder / name for name in NAMES):
        try:
            frames.append(to_unit(read_gray(path)))
        except ImageError as error:
            raise DataError(f"{error}; give --pair a folder with {' and '.join(NAMES)}") from error
        if frames[-1].shape != SHAPE:
            raise DataError(
                f"{path}: {frames[-1].shape} px, but the measured regions need {SHAPE} px; give the original frames"
            )
    return frames[0], frames[1]


def true_psnr(image: FloatImage, first: FloatImage, second: FloatImage) -> float:
    """Return PSNR in dB of an image made from frame 1, against the truth in both frames; all of one shape, in [0,
    1].
    """
    error = mse(second, image) - mse(second, first) / 2
    return float(-10 * np.log10(max(error, LEAST_ERROR)))


def in_and_out(
    first: FloatImage, second: FloatImage, denoised: FloatImage, regions: Mapping[str, Region] = REGIONS
) -> dict[str, tuple[float, float]]:
    """Return PSNR in dB of frame 1, noisy and denoised, in each region."""
    return {
        name: (true_psnr(first[part], first[part], second[part]), true_psnr(denoised[part], first[part], second[part]))
        for name, part in regions.items()
    }


def contrast_kept(
    first: FloatImage, second: FloatImage, denoised: FloatImage, regions: Mapping[str, Region] = LINE_PAIRS
) -> dict[str, float]:
    """Return the fraction of the fine structure common to both frames left in the denoised frame 1, in each region."""
    before, truth, after = (image - cv2.GaussianBlur(image, (0, 0), FINE) for image in (first, second, denoised))
    return {
        name: float((after[part] * truth[part]).sum() / (before[part] * truth[part]).sum())
        for name, part in regions.items()
    }


def further_from_truth(measured: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the regions that denoising made worse."""
    return [name for name, (before, after) in measured.items() if after < before]
