"""Noise of real detectors (`cxr_infer.lab.noise`), also after a processing step.

Images are (H, W) float32 in [0, 1]; `sd` is the root mean square noise in gray levels of 255. A protocol is `white`
(Poisson) or a detector's name, optionally with a processing step after the exposure, such as `white+half`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.noise import SPECTRUM_SIDE, DetectorNoise, KnownNoise, noise_field, spectrum_at

SHARPENING, SHARPENING_RADIUS = 1.5, 2.0  # fraction of the fine structure that is added; px
ENLARGED, ENLARGED_FROM = 4, 128  # factor; px, side of the enlarged middle
FIELDS = 12  # fields averaged to estimate the spectrum after a processing step
SMOOTHING = 5  # bins, side of the square for smoothing that spectrum


@dataclass(frozen=True)
class Exposure:
    """A clean image, the same with noise, and the truth about the noise."""

    clean: FloatImage
    noisy: FloatImage
    told: KnownNoise


@dataclass(frozen=True)
class Step:
    """A linear processing step. before: prepares the image to expose; after: is applied to the exposure."""

    before: Callable[[Float64Array], Float64Array]
    after: Callable[[Float64Array], Float64Array]
    resizes: bool = True


def _unsharp(image: Float64Array) -> Float64Array:
    blurred = cv2.GaussianBlur(image, (0, 0), SHARPENING_RADIUS)
    return np.asarray(image + SHARPENING * (image - blurred))


def _resized(factor: float, interpolation: int) -> Callable[[Float64Array], Float64Array]:
    return lambda image: np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation))


def _middle(image: Float64Array) -> Float64Array:
    top, left = ((side - ENLARGED_FROM) // 2 for side in image.shape)
    return image[top : top + ENLARGED_FROM, left : left + ENLARGED_FROM]


STEPS: Mapping[str, Step] = {
    "": Step(lambda image: image, lambda image: image, resizes=False),
    "unsharp": Step(lambda image: image, _unsharp, resizes=False),
    "half": Step(_resized(2, cv2.INTER_CUBIC), _resized(0.5, cv2.INTER_AREA)),
    f"enlarged{ENLARGED}": Step(_middle, _resized(ENLARGED, cv2.INTER_CUBIC)),
}


def parse_protocol(protocol: str, detectors: Mapping[str, DetectorNoise]) -> tuple[str, str]:
    """Split `NAME+STEP` into name and step. Raises UsageError for an unknown one."""
    name, _, step = protocol.partition("+")
    if name not in detectors or step not in STEPS or protocol.endswith("+"):
        steps = ", ".join(f"+{known}" for known in STEPS if known)
        raise UsageError(f"unknown protocol {protocol!r}; use {', '.join(detectors)}, each alone or with {steps}")
    return name, step


@lru_cache(maxsize=16)
def _spectrum_after(small: bytes, step: str, shape: tuple[int, int]) -> Float64Array:
    """Return the spectrum after a step, mean 1: averaged over processed fields and neighbouring bins."""
    spectrum = spectrum_at(np.frombuffer(small).reshape(SPECTRUM_SIDE, SPECTRUM_SIDE), shape)
    if not step:
        return spectrum
    rng = np.random.default_rng(0)
    power = sum(np.abs(np.fft.fft2(STEPS[step].after(noise_field(spectrum, rng)))) ** 2 for _ in range(FIELDS))
    padded = np.pad(np.asarray(power), SMOOTHING // 2, mode="wrap")
    inner = slice(SMOOTHING // 2, -(SMOOTHING // 2))
    smooth = cv2.blur(padded, (SMOOTHING, SMOOTHING))[inner, inner]
    return np.asarray(smooth / smooth.mean())


def expose(clean: FloatImage, detector: DetectorNoise, step: str, sd: float, rng: np.random.Generator) -> Exposure:
    """Expose a clean image and process it. sd: root mean square noise afterwards, gray levels of 255.

    A step also changes the clean image: the exposure's `clean` is the ideal result.
    """
    chain = STEPS[step]
    if chain.resizes:
        rng = np.random.default_rng(rng.integers(2**32))  # the published figures were drawn from such a generator
    exposed = chain.before(clean.astype(np.float64))
    small = detector.spectrum.tobytes()
    field = noise_field(_spectrum_after(small, "", exposed.shape), rng)
    noise = detector.relative_sd(exposed)
    noise *= sd / 255 / np.sqrt((noise**2).mean())
    noise *= field
    if step:
        noise *= sd / 255 / chain.after(noise).std()
    reference = chain.after(exposed)
    noisy = chain.after(exposed + noise)
    scale = sd / 255 / np.sqrt((detector.relative_sd(np.clip(reference, 0, 1)) ** 2).mean())
    told = KnownNoise(detector.curve * (1, scale), _spectrum_after(small, step, exposed.shape))
    return Exposure(_displayed(reference), _displayed(noisy), told)


def _displayed(image: Float64Array) -> FloatImage:
    return np.clip(image, 0, 1).astype(np.float32)
