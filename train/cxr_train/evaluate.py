"""The published comparison on the test split: the three models, the noisy input and simple peers, at several doses."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.mottle import estimate_mottle, repair_wrapped
from cxr_infer.imaging.pixels import to_bytes, to_unit
from cxr_train.data import XrayFiles, XrayImages
from cxr_train.models import WHOLE_IMAGE_SIDE, WindowDenoisingAutoencoder
from cxr_train.noise import published_mottle, round_to_steps, saturating_mottle

FloatImage = NDArray[np.float32]
Denoise = Callable[[FloatImage], FloatImage]  # (H, W) in [0, 1] -> the same

PUBLISHED_MSE = {"original": 0.009, "new": 0.008, "window": 0.013}  # 300 test pairs, published noise
DOSES = (20, 200, 600)  # photons at white, beside the published noise of 71


@dataclass(frozen=True)
class Score:
    """Means over the images. mse on [0, 1] pixels, rounded as in a file; psnr in dB, the mean of the images' PSNR."""

    noise: str
    method: str
    mse: float
    psnr: float
    ssim: float


def noises() -> Mapping[str, Callable[[NDArray[np.uint8], np.random.Generator], FloatImage]]:
    """The noises of the comparison: clean (H, W) uint8 -> noisy (H, W) float32 in [0, 1] with 8-bit steps."""

    def poisson(dose: float) -> Callable[[NDArray[np.uint8], np.random.Generator], FloatImage]:
        return lambda clean, rng: round_to_steps(saturating_mottle(to_unit(clean), dose, rng))

    return {
        "published, saturating": lambda clean, rng: to_unit(published_mottle(clean, rng, wrap=False)),
        "published, wrapping + repair": lambda clean, rng: repair_wrapped(
            to_unit(published_mottle(clean, rng, wrap=True))
        ),
        **{f"{dose} photons": poisson(dose) for dose in DOSES},
        "none (clean image)": lambda clean, rng: to_unit(clean),
    }


def peers() -> dict[str, Denoise]:
    """What a user would otherwise do: nothing, a Gaussian blur, OpenCV's non-local means told the mottle."""

    def non_local_means(image: FloatImage) -> FloatImage:
        strength = max(1.0, 0.9 * estimate_mottle(image).gray_levels)
        return to_unit(np.asarray(cv2.fastNlMeansDenoising(to_bytes(image), None, strength, 5, 15)))

    return {
        "noisy input": lambda image: image,
        "Gaussian 1.5 px": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), dtype=np.float32),
        "OpenCV non-local means": non_local_means,
    }


def as_denoise(model: nn.Module) -> Denoise:
    """A trained model as a function of one whole image."""

    def run(image: FloatImage) -> FloatImage:
        noisy = torch.from_numpy(image)[None, None]
        with torch.no_grad():
            if isinstance(model, WindowDenoisingAutoencoder):
                return model(noisy, torch.tensor([estimate_mottle(image).level], dtype=torch.float32))[0, 0].numpy()
            return model(noisy)[0, 0].numpy()

    return run


def evaluate(files: XrayFiles, models: Mapping[str, nn.Module], limit: int | None = None) -> Iterator[Score]:
    """Yield every score of the comparison at 512x512, as it is known.

    limit: number of test images, None for all. The noise of an image depends on its name and the noise's alone.
    Raises DataError where there are no test images.
    """
    images = XrayImages(files.require("test"), WHOLE_IMAGE_SIDE)
    methods = peers() | {name: as_denoise(model) for name, model in models.items()}
    count = len(images) if limit is None else min(limit, len(images))
    for noise, add in noises().items():
        sums = {method: np.zeros(3) for method in methods}
        for index in range(count):
            name = Path(images.files[index]).name
            noisy = add(images[index], np.random.default_rng(zlib.crc32(f"{name}/{noise}".encode())))
            clean = to_unit(images[index])
            for method, denoise in methods.items():
                result = round_to_steps(denoise(noisy))
                error = mse(clean, result)
                sums[method] += (error, psnr_of_mse(error), ssim(clean, result))
        for method, total in sums.items():
            yield Score(noise, method, *(float(value) for value in total / count))
