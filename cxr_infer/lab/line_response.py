"""Detect short straight lines in an image, and those missing from another image.

Lines of either sign are found by a line operator after R. N. Dixon and C. J. Taylor, Automated asbestos fibre counting,
Inst. Phys. Conf. Ser. 44, 1979. A line of the denoised image is false if the clean image shows less than half of its
contrast along most of it; a line of the clean image is lost in the same way.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage

Response = tuple[FloatImage, FloatImage]  # contrast of bright and of dark lines

LENGTH = 20  # px
WIDTH = 1.0  # px, standard deviation of the profile across
FLANK = (3, 6)  # px from the line, range of the flanks on each side
ORIENTATIONS = 24  # 7.5 degrees apart; the ends of a template are at most 0.7 px off any line
NEAR = 7  # px, side of the square in which the other image's response counts
LEAST_CONTRAST = 8.0  # gray levels of 255 from which a line counts


def line_templates(angle: float) -> tuple[FloatImage, FloatImage]:
    """Return templates of a line minus its flank on one side and on the other: (K, K) float32 each, K = LENGTH + 1.

    angle: radians, 0 along a row and pi / 2 along a column. Correlated with an image, each gives 0 on a constant and c
    on a line of contrast c with the template's width and length.
    """
    y, x = np.mgrid[-LENGTH // 2 : LENGTH // 2 + 1, -LENGTH // 2 : LENGTH // 2 + 1]
    across, along = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    seen = np.clip(LENGTH / 2 + 0.5 - np.abs(along), 0, 1)
    profile = np.exp(-(across**2) / (2 * WIDTH**2))
    on = seen * np.where(np.abs(across) < FLANK[0], profile, 0)
    kernels = []
    for side in (across, -across):
        beside = seen * ((side >= FLANK[0]) & (side <= FLANK[1]))
        kernel = on / on.sum() - beside / beside.sum()
        kernels.append(np.asarray(kernel / (kernel * profile).sum(), dtype=np.float32))
    return kernels[0], kernels[1]


TEMPLATES = [line_templates(np.pi * index / ORIENTATIONS) for index in range(ORIENTATIONS)]


def line_response(image: FloatImage) -> Response:
    """Return the contrast of the bright and of the dark line through each pixel, (H, W) float32 each, at least 0.

    image: (H, W) float32 in [0, 1]; the contrast has the same unit. It is limited to twice the weaker side's contrast;
    otherwise edges, and pixels beside a line of the other sign, would count as lines.
    """
    bright, dark = np.zeros_like(image), np.zeros_like(image)
    for templates in TEMPLATES:
        one, other = (cv2.filter2D(image, cv2.CV_32F, part, borderType=cv2.BORDER_REFLECT_101) for part in templates)
        mean = (one + other) / 2
        np.maximum(bright, np.minimum(mean, 2 * np.minimum(one, other)), out=bright)
        np.maximum(dark, -np.maximum(mean, 2 * np.maximum(one, other)), out=dark)
    return bright, dark


def lines_missing(response: FloatImage, other: FloatImage) -> tuple[int, int]:
    """Return the number of lines of one sign, and how many of them are missing in another image.

    response, other: results of `line_response` for that sign, (H, W).
    """
    strong = response >= LEAST_CONTRAST / 255
    count, line = cv2.connectedComponents(strong.astype(np.uint8))
    absent = strong & (cv2.dilate(other, np.ones((NEAR, NEAR), np.uint8)) < response / 2)
    share = np.bincount(line[absent], minlength=count) / np.bincount(line.ravel(), minlength=count)
    return count - 1, int((share[1:] > 0.5).sum())


def count_lines(clean: Response, denoised: Response) -> NDArray[np.int64]:
    """Count lines of either sign: those of the clean image, those of them lost, and false ones of the denoised image.

    clean, denoised: results of `line_response`.
    """
    counts = np.zeros(3, np.int64)
    for there, drawn in zip(clean, denoised, strict=True):
        counts += (*lines_missing(there, drawn), lines_missing(drawn, there)[1])
    return counts
