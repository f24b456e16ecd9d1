"""Compare methods under several noises by MSE, PSNR and SSIM; used by `cxr-train evaluate` and the benchmarks.

A method maps a noisy image, (H, W) float32 in [0, 1], and the photons at white to a denoised image of the same kind.
Classical methods are told the true dose, which a model has to estimate.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from cxr_infer.errors import ModelError
from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.pixels import FloatImage, to_bytes, to_unit
from cxr_infer.lab.classical import gaussian_blur
from cxr_train.data import XrayImages
from cxr_train.noise import round_to_steps, saturating_mottle

NoiseT = TypeVar("NoiseT")
DenoisingMethod = Callable[[FloatImage, float], FloatImage]  # (noisy, photons at white) -> denoised

NOISY, GAUSSIAN, NLM = "noisy", "Gaussian", "OpenCV NLM"
MEAN_BRIGHTNESS = 0.5  # of a chest X-ray; the mottle's sd at this brightness is given to non-local means
DARK = 0.05  # [0, 1]


@dataclass(frozen=True)
class NoiseKind:
    """A kind of noise. add: clean (H, W) in [0, 1] and a generator -> noisy. steps: of the file's pixels, 255 for 8
    bit.
    """

    add: Callable[[FloatImage, np.random.Generator], FloatImage]
    steps: int = 255


@dataclass(frozen=True)
class Score:
    """Means over the images. mse: [0, 1] pixels, rounded as in a file; psnr: dB, mean of the images' PSNR."""

    noise: str
    method: str
    mse: float
    psnr: float
    ssim: float


class ImagesByName(Mapping[str, FloatImage]):
    """The first `limit` images of a split, (H, W) float32 in [0, 1], by file name, or by path if two share a name.

    Images are read on access, because a large split does not fit into memory.
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


def photon_noise(dose: float) -> NoiseKind:
    """Return saturating Poisson mottle. dose: photons at white."""
    return NoiseKind(lambda clean, rng: saturating_mottle(clean, dose, rng))


def noise_generator(name: str, key: str) -> np.random.Generator:
    """Return the generator for the noise `key` of the file `name`: the same in every run, whatever else is measured."""
    return np.random.default_rng(zlib.crc32(f"{name}/{key}".encode()))


def add_noise(noise: NoiseKind, name: str, key: str, clean: FloatImage) -> FloatImage:
    """Return the noisy image of one file."""
    return round_to_steps(noise.add(clean, noise_generator(name, key)), noise.steps)


def equivalent_dose(clean: FloatImage, noisy: FloatImage) -> float:
    """Return the dose of plain mottle as strong as the noise, photons at white; classical methods are told it.

    It is the variance of square roots over pixels that are neither dark nor saturated.
    """
    inside = (clean > DARK) & (noisy < 1)
    variance = float(np.mean((noisy - clean)[inside] ** 2 / (4 * clean[inside]))) if inside.any() else DARK**2
    return 0.25 / max(variance, 1e-6)


def run(method: Callable[[FloatImage, NoiseT], FloatImage], noisy: FloatImage, told: NoiseT) -> FloatImage:
    """Apply a method to an image, told something of its noise. Raises ModelError if the result is not an image.

    Most comparisons treat NaN as no error, so it would count as a method's best result.
    """
    denoised = method(noisy, told)
    if denoised.shape != noisy.shape or not np.isfinite(denoised).all():
        raise ModelError(f"a method returned shape {denoised.shape} for {noisy.shape}, or non-finite values; omit it")
    return denoised


def compare(
    clean_images: Mapping[str, FloatImage], noises: Mapping[str, NoiseKind], methods: Mapping[str, DenoisingMethod]
) -> Iterator[Score]:
    """Yield the scores of every noise and method. clean_images: file name -> (H, W) float32 in [0, 1]."""
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
    """Apply OpenCV's non-local means to the 8-bit image. Tuned on validation images at 20 and 200 photons."""
    sd = 255 * np.sqrt(MEAN_BRIGHTNESS / white)
    return to_unit(np.asarray(cv2.fastNlMeansDenoising(to_bytes(noisy), None, 1.4 * sd, 5, 21)))


def simple_methods() -> dict[str, DenoisingMethod]:
    """Return what a user could do with OpenCV alone: nothing, a Gaussian blur, non-local means."""
    return {NOISY: lambda noisy, white: noisy, GAUSSIAN: gaussian_blur, NLM: non_local_means}
