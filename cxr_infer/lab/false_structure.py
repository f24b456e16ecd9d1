"""Structure made from pure noise: how strong the strongest false blob of each size looks on a flat field.

Noise itself contains blobs; a method that leaves or creates stronger ones shows what is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.signals import FWHM

DIAMETERS = (2.0, 4.0, 8.0, 16.0)  # px, full width at half maximum
SURROUND = 2.0  # width of the surround relative to the blob
PEAK_RESPONSE = 1 / 2 - 1 / (1 + SURROUND**2)  # response to a blob of contrast 1: blurred Gaussians, at their centre
MARGIN = 2.0  # surrounds to keep away from the border


def strongest_blob(image: FloatImage, diameter: float) -> float:
    """Return the contrast of a Gaussian blob that would look like the image's strongest one, bright or dark.

    It is a difference of Gaussians, as wide as the blob and SURROUND times as wide, divided by its response to a blob
    of contrast 1. image: (H, W), at least 8 diameters a side. diameter: px, full width at half maximum. In the image's
    units.
    """
    sd = diameter / FWHM
    seen = [cv2.GaussianBlur(image, (0, 0), width, borderType=cv2.BORDER_REFLECT_101) for width in (sd, SURROUND * sd)]
    margin = int(np.ceil(MARGIN * SURROUND * sd))
    inner = (seen[0] - seen[1])[margin : len(image) - margin, margin : image.shape[1] - margin]
    return float(np.abs(inner).max() / PEAK_RESPONSE)


def strongest_blobs(images: Sequence[FloatImage]) -> NDArray[np.float64]:
    """Return the contrasts for each image and each of DIAMETERS: (images, diameters)."""
    return np.array([[strongest_blob(image, diameter) for diameter in DIAMETERS] for image in images])
