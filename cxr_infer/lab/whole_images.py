"""What is counted in whole denoised images against the clean ones; computed once for the studies that share it."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.conditions import Condition, exposures
from cxr_infer.lab.line_response import count_lines, line_response
from cxr_infer.lab.methods import run
from cxr_infer.lab.setting import Arrays, Method, Setting, Work

Array = NDArray[np.float64]

BANDS = 8  # of brightness, of 32 gray levels each
LINES, PIXELS, ERRORS = "lines", "pixels", "errors"


def counted(setting: Setting, work: Work, method: Method, condition: Condition) -> dict[str, Array]:
    """Of every image and draw, see `count`: each array with the images as its first axis."""
    parts = [
        work.unit(
            f"whole-images/{condition.name}/{method.name}/{name}",
            partial(count, setting, method, condition, name, clean),
        )
        for name, clean in setting.images.items()
    ]
    return {key: np.stack([np.asarray(part[key], np.float64) for part in parts]) for key in (LINES, PIXELS, ERRORS)}


def units(setting: Setting, under: list[Condition]) -> int:
    """How many units `counted` takes for all methods."""
    return len(under) * len(setting.methods) * len(setting.images)


def count(setting: Setting, method: Method, condition: Condition, name: str, clean: FloatImage) -> Arrays:
    """Of one clean image at every draw of noise.

    lines: (draws, 3), those of the clean image, those of them lost, and false ones. pixels: (draws,), megapixels.
    errors: (draws, BANDS + 1, 2), sum of denoised - clean in gray levels and number of pixels, by the clean pixel's
    brightness; the saturated pixels, white in the clean image, are the last band.
    """
    there = line_response(clean)
    band = np.minimum((clean * 255 * BANDS / 256).astype(int), BANDS - 1)
    band[clean >= 1] = BANDS
    number = np.bincount(band.ravel(), minlength=BANDS + 1)
    lines, errors = [], []
    for noisy, told in exposures(setting, condition, name, clean):
        denoised = run(method, noisy, told)
        lines.append(count_lines(there, line_response(denoised)))
        error = 255 * (denoised.astype(np.float64) - clean)
        errors.append(np.stack([np.bincount(band.ravel(), error.ravel(), minlength=BANDS + 1), number], axis=-1))
    return {LINES: np.array(lines), PIXELS: np.full(len(lines), clean.size / 1e6), ERRORS: np.array(errors)}
