"""Expose clean images: add white noise, or noise as measured on a real detector, and return the truth about it.

Measurements and their sources are in `detectors/`. They are for evaluation only, never for training. Images are (H, W)
float32 in [0, 1]; a dose is photons at white. All random numbers come from the given generator.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import DataError, ImageError, UsageError
from cxr_infer.imaging.mottle import Mottle, estimate_mottle, poisson_mottle
from cxr_infer.imaging.pixels import Float64Array, FloatImage

MEASURED = Path(__file__).parent / "detectors"
WHITE_NOISE = "white"
DETECTORS = ("canon_dr_chest", "kodak_cr_hand", "fuji_cr_hip", "ge_dr_knee", "mammography")
SPECTRUM_SIDE = 32
DETRENDED, FILLED_FROM = (
    0.02,
    0.05,
)  # cycles/px; power below the first was lost by detrending and is refilled from the band between
CURVE_KNOTS = 4097  # knots of the curve of white noise


@dataclass(frozen=True)
class DetectorNoise:
    """A measured detector.

    spectrum: (32, 32) power, FFT order, mean 1. curve: (K, 2), brightness in [0, 1] and relative standard deviation.
    """

    spectrum: Float64Array
    curve: Float64Array

    def relative_sd(self, image: NDArray[np.floating]) -> Float64Array:
        """Return the standard deviation at each pixel's brightness, up to a factor; constant beyond the ends of the
        curve.
        """
        return np.asarray(np.interp(image, self.curve[:, 0], self.curve[:, 1]))

    def digest(self) -> str:
        """Return a SHA-256, hexadecimal, of the spectrum and the curve."""
        return hashlib.sha256(np.ascontiguousarray(self.spectrum).tobytes() + self.curve.tobytes()).hexdigest()


@dataclass(frozen=True)
class KnownNoise:
    """The truth about the noise of one image, which a method may be told.

    curve: (K, 2), brightness and standard deviation, both in [0, 1] units. spectrum: (H, W), FFT order, mean 1.
    poisson: whether it is photon noise, white with a variance of brightness / dose.
    """

    curve: Float64Array
    spectrum: Float64Array
    poisson: bool = False

    @property
    def dose(self) -> float:
        """Dose of equally strong white noise, photons at white, over the curve's brightnesses."""
        brightness, sd = self.curve.T
        return float(brightness.mean() / max((sd**2).mean(), np.finfo(float).tiny))


def load_detectors(folder: Path = MEASURED) -> dict[str, DetectorNoise]:
    """Load white Poisson noise and the measured detectors by name. Raises DataError if a file is missing or damaged."""
    brightness = np.linspace(0, 1, CURVE_KNOTS)
    detectors = {
        WHITE_NOISE: DetectorNoise(np.ones((SPECTRUM_SIDE, SPECTRUM_SIDE)), np.c_[brightness, np.sqrt(brightness)])
    }
    try:
        for name, row in json.loads((folder / "detectors.json").read_text(encoding="utf-8")).items():
            spectrum = np.load(folder / f"{name}.spectrum.npy").astype(np.float64)
            detectors[name] = DetectorNoise(spectrum, np.array(row["curve"], dtype=np.float64))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: detector measurements missing or damaged: {error}; reinstall cxr-infer") from error
    return detectors


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, DetectorNoise]:
    return load_detectors()


def find_detector(name: str) -> DetectorNoise:
    """Return `white` or one of DETECTORS. Raises UsageError for any other name."""
    if name not in (WHITE_NOISE, *DETECTORS):
        raise UsageError(f"unknown noise {name!r}; use {', '.join((WHITE_NOISE, *DETECTORS))}")
    return _shipped()[name]


def detector_of(mottle: Mottle) -> DetectorNoise:
    """Convert a noise estimate to a detector: its curve, and the fitted shape of its spectrum.

    Raises ImageError if the estimate is too uncertain.
    """
    if not mottle.curve or not mottle.sure or mottle.sd <= 0:
        raise ImageError(
            "the noise of the image cannot be estimated well enough; give a larger image, or one with more noise"
        )
    line = np.fft.fftfreq(SPECTRUM_SIDE)
    across, down = np.meshgrid(line, line)
    power = np.maximum(mottle.shape.power(across, down), 0)
    return DetectorNoise(power / power.mean(), np.array(mottle.curve, dtype=np.float64))


def detector_of_image(image: FloatImage) -> tuple[DetectorNoise, float]:
    """Return the noise of one noisy image as a detector, and the dose of equally strong white noise, photons at white.

    Raises ImageError like `detector_of`.
    """
    mottle = estimate_mottle(image)
    return detector_of(mottle), float(image.mean(dtype=np.float64)) / max(mottle.sd, 1e-9) ** 2


def told_of(mottle: Mottle, shape: tuple[int, int]) -> KnownNoise:
    """Return a noise estimate for an image of shape (H, W). Raises ImageError like `detector_of`."""
    detector = detector_of(mottle)
    return KnownNoise(detector.curve, _spectrum_of(detector, shape))


def spectrum_at(small: Float64Array, shape: tuple[int, int]) -> Float64Array:
    """Interpolate a measured spectrum (32, 32) to an image's resolution: (H, W), FFT order, mean 1, point-symmetric."""
    size = (shape[1], shape[0])
    large = cv2.resize(np.fft.fftshift(small), size, interpolation=cv2.INTER_LINEAR)
    large = np.fft.ifftshift(np.asarray(large, dtype=np.float64))
    mirrored = np.roll(large[::-1, ::-1], (1, 1), axis=(0, 1))
    large = np.maximum((large + mirrored) / 2, 0)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    large[frequency < DETRENDED] = large[(frequency >= DETRENDED) & (frequency < FILLED_FROM)].mean()
    return np.asarray(large / large.mean())


@lru_cache(maxsize=8)
def _cached_spectrum(small: bytes, shape: tuple[int, int]) -> Float64Array:
    spectrum = spectrum_at(np.frombuffer(small).reshape(SPECTRUM_SIDE, SPECTRUM_SIDE), shape)
    spectrum.setflags(write=False)
    return spectrum


def _spectrum_of(detector: DetectorNoise, shape: tuple[int, int]) -> Float64Array:
    return _cached_spectrum(np.ascontiguousarray(detector.spectrum).tobytes(), shape)


def noise_field(spectrum: Float64Array, rng: np.random.Generator) -> Float64Array:
    """Draw Gaussian noise (H, W) of variance 1 with that power spectrum."""
    white = np.fft.fft2(rng.standard_normal(spectrum.shape))
    return np.asarray(np.fft.ifft2(white * np.sqrt(spectrum)).real)


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """Return the generator of one draw: the same for equal keys in every run, whatever else is drawn.

    The key of a draw shared by all methods must not contain a method.
    """
    return np.random.default_rng(
        [seed, *(zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key)]
    )


def expose(
    clean: FloatImage, noise: str | DetectorNoise, dose: float, rng: np.random.Generator
) -> tuple[FloatImage, KnownNoise]:
    """Expose a clean image.

    clean: (H, W) float32 in [0, 1]. noise: `white`, one of DETECTORS, or the user's own detector. dose: photons at
    white. White noise is Poisson; a detector's is Gaussian with its spectrum and curve, and over this image as strong
    (root mean square) as white noise of that dose. Returns the noisy image, saturated at 0 and 1 as in a detector, and
    the truth about the noise. Raises UsageError for an unknown noise, or a dose that is not a positive finite number.
    """
    if not 0 < dose < float("inf"):
        raise UsageError(f"dose {dose} is invalid; use a finite number of photons above 0")
    detector = find_detector(noise) if isinstance(noise, str) else noise
    rows, columns = clean.shape
    spectrum = _spectrum_of(detector, (rows, columns))
    if noise == WHITE_NOISE:
        noisy = np.minimum(poisson_mottle(clean, dose, rng), np.float32(1))
        return noisy, KnownNoise(detector.curve * (1, dose**-0.5), spectrum, poisson=True)
    relative = detector.relative_sd(clean)
    scale = float(np.sqrt(clean.mean(dtype=np.float64) / dose / (relative**2).mean()))
    noisy = np.clip(clean + scale * relative * noise_field(spectrum, rng), 0, 1).astype(np.float32)
    return noisy, KnownNoise(detector.curve * (1, scale), spectrum)
