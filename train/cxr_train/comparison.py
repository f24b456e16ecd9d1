"""Noise x methods -> MSE, PSNR and SSIM: the one comparison of `cxr-train evaluate` and of the benchmarks.

A method maps a noisy image, (H, W) float32 in [0, 1], and the photons at white to an image of the same kind. Classical
methods are told the true dose, which a model has to find by itself.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ModelError
from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.pixels import to_bytes, to_unit
from cxr_infer.lab.classical import gaussian_blur
from cxr_train.data import XrayImages
from cxr_train.noise import round_to_steps, saturating_mottle

FloatImage = NDArray[np.float32]
Told = TypeVar("Told")
Method = Callable[[FloatImage, float], FloatImage]  # (noisy, photons at white) -> denoised

NOISY, GAUSSIAN, NLM = "noisy", "Gaussian", "OpenCV NLM"
MEAN_BRIGHTNESS = 0.5  # of a chest X-ray: where plain non-local means is told the mottle's standard deviation
DARK = 0.05  # [0, 1]


@dataclass(frozen=True)
class Noise:
    """A kind of noise: clean (H, W) in [0, 1] and a generator -> noisy. steps: of the file's pixels, 255 for 8 bit."""

    add: Callable[[FloatImage, np.random.Generator], FloatImage]
    steps: int = 255


@dataclass(frozen=True)
class Score:
    """Means over the images. mse on [0, 1] pixels, rounded as in a file; psnr in dB, the mean of the images' PSNR."""

    noise: str
    method: str
    mse: float
    psnr: float
    ssim: float


class ImagesByName(Mapping[str, FloatImage]):
    """The first `limit` images of a split, (H, W) float32 in [0, 1], by file name, or by path where two share a name.

    They are read when they are asked for: a large split does not fit into memory.
    """

    def __init__(self, images: XrayImages, limit: int | None = None) -> None:
        self._images = images
        files = images.files[:limit]
        shared = Counter(path.name for path in files)
        self._index = {path.name if shared[path.name] == 1 else str(path): i for i, path in enumerate(files)}

    def __getitem__(self, name: str) -> FloatImage:
        return to_unit(self._images[self._index[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)


def photon_noise(dose: float) -> Noise:
    """Saturating Poisson mottle. dose: photons at white."""
    return Noise(lambda clean, rng: saturating_mottle(clean, dose, rng))


def noise_generator(name: str, key: str) -> np.random.Generator:
    """Draws the noise `key` of the file `name`: the same at every run, whatever else is measured."""
    return np.random.default_rng(zlib.crc32(f"{name}/{key}".encode()))


def add_noise(noise: Noise, name: str, key: str, clean: FloatImage) -> FloatImage:
    """The noisy image of one file."""
    return round_to_steps(noise.add(clean, noise_generator(name, key)), noise.steps)


def equivalent_dose(clean: FloatImage, noisy: FloatImage) -> float:
    """Photons at white of plain mottle as strong as the noise; what the classical methods are told.

    By the variance that the roots of pixels have which are neither dark nor saturated.
    """
    inside = (clean > DARK) & (noisy < 1)
    variance = float(np.mean((noisy - clean)[inside] ** 2 / (4 * clean[inside]))) if inside.any() else DARK**2
    return 0.25 / max(variance, 1e-6)


def run(method: Callable[[FloatImage, Told], FloatImage], noisy: FloatImage, told: Told) -> FloatImage:
    """What a method makes of an image, told something of its noise. Raises ModelError where that is no image.

    A NaN is no line, no grain and no error to most comparisons, and would be a method's best result.
    """
    denoised = method(noisy, told)
    if denoised.shape != noisy.shape or not np.isfinite(denoised).all():
        raise ModelError(
            f"a method returned shape {denoised.shape} for {noisy.shape}, or non-finite values; leave it out"
        )
    return denoised


def compare(
    clean_images: Mapping[str, FloatImage], noises: Mapping[str, Noise], methods: Mapping[str, Method]
) -> Iterator[Score]:
    """Every noise x every method. clean_images: file name -> (H, W) float32 in [0, 1]."""
    for key, noise in noises.items():
        sums = {method: np.zeros(3) for method in methods}
        for name, clean in clean_images.items():
            noisy = add_noise(noise, name, key, clean)
            white = equivalent_dose(clean, noisy)
            for method, denoise in methods.items():
                result = round_to_steps(run(denoise, noisy, white), noise.steps)
                error = mse(clean, result)
                sums[method] += (error, psnr_of_mse(error), ssim(clean, result))
        for method, total in sums.items():
            yield Score(key, method, *(float(value) for value in total / len(clean_images)))


def non_local_means(noisy: FloatImage, white: float) -> FloatImage:
    """OpenCV's, on the 8-bit image as most programs call it. Tuned on validation images at 20 and 200 photons."""
    sd = 255 * np.sqrt(MEAN_BRIGHTNESS / white)
    return to_unit(np.asarray(cv2.fastNlMeansDenoising(to_bytes(noisy), None, 1.4 * sd, 5, 21)))


def simple_methods() -> dict[str, Method]:
    """What a user would otherwise do with OpenCV alone: nothing, a Gaussian blur, non-local means."""
    return {NOISY: lambda noisy, white: noisy, GAUSSIAN: gaussian_blur, NLM: non_local_means}
