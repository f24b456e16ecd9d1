"""Measure the loss of int8: its PSNR against that of the float32 file, on the same noisy images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr_infer.imaging.metrics import mse, psnr_of_mse
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import FloatImage, to_unit
from cxr_infer.model.card import FP32, INT8
from cxr_infer.model.denoiser import Model
from cxr_train.config import VALIDATION_DOSES
from cxr_train.data import XrayImages, find_xrays
from cxr_train.tasks import noisy_validation

MOST_LOSS = 0.1  # dB, at every dose
LEAST_CLEAN = 44.0  # dB, minimum PSNR of a clean image
IMAGES = 16  # validation X-rays
PHANTOMS = 4
SIDE = 512  # px


@dataclass(frozen=True)
class Loss:
    """PSNR lost at each of VALIDATION_DOSES, dB; PSNR of a clean image through int8, dB; and the images used."""

    dose_loss: tuple[float, ...]
    clean: float
    images: str

    @property
    def holds(self) -> bool:
        finite = all(map(math.isfinite, (*self.dose_loss, self.clean)))
        return finite and all(loss <= MOST_LOSS for loss in self.dose_loss) and self.clean >= LEAST_CLEAN

    def __str__(self) -> str:
        lost = " / ".join(f"{loss:.3f}" for loss in self.dose_loss)
        doses = " / ".join(f"{dose:g}" for dose in VALIDATION_DOSES)
        return f"loses {lost} dB at {doses} photons, clean {self.clean:.1f} dB ({self.images})"


def measure_loss(float32: bytes, int8: bytes, data: Path | None) -> Loss:
    """Compare two ONNX files of `window` on X-rays of the validation split, or on phantoms if `data` is None.

    Raises DataError if the directory has no such split.
    """
    if data is None:
        clean = [render_phantom(seed, SIDE) for seed in range(PHANTOMS)]
        images = f"{PHANTOMS} phantoms"
    else:
        xrays = XrayImages(find_xrays(data).require("val"), SIDE)
        count = min(IMAGES, len(xrays))
        clean = [to_unit(xrays[i * len(xrays) // count]) for i in range(count)]
        images = f"{count} validation X-rays"
    contents = {FP32: float32, INT8: int8}
    models = [Model.open(content, Path(name)) for name, content in contents.items()]
    losses = []
    for dose in VALIDATION_DOSES:
        noisy = [noisy_validation(image, dose, index) for index, image in enumerate(clean)]
        expected, reached = (_psnr(model, clean, noisy) for model in models)
        losses.append(expected - reached)
    return Loss(tuple(losses), _psnr(models[1], clean, clean), images)


def _psnr(model: Model, clean: Sequence[FloatImage], noisy: Sequence[FloatImage]) -> float:
    """Return the mean PSNR in dB of denoised images (H, W)."""
    figures = []
    for truth, image in zip(clean, noisy, strict=True):
        denoised = model.run(image[None, None], estimate_mottle(image).level)
        figures.append(psnr_of_mse(mse(truth, denoised[0, 0])))
    return float(np.mean(figures))
