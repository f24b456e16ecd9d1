"""The conditions of a measurement: noises and doses of a protocol, and their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.noise import KnownNoise, expose, generator
from cxr_infer.lab.protocol import Protocol, Signal
from cxr_infer.lab.setting import Setting

FLAT = "flat"  # name of the flat field in the seeds of its draws


@dataclass(frozen=True)
class Condition:
    """One noise at one dose, photons at white."""

    noise: str
    dose: float

    @property
    def name(self) -> str:
        return f"{self.dose:g} photons, {self.noise}"


def conditions(protocol: Protocol) -> list[Condition]:
    """Return every noise at every dose."""
    return [Condition(noise, dose) for noise in protocol.noises for dose in protocol.doses]


def exposures(
    setting: Setting, condition: Condition, name: str, clean: FloatImage, draws: int
) -> Iterator[tuple[FloatImage, KnownNoise]]:
    """Return the first draws of noise on a clean image, the same for every method and study. name: of the image."""
    return (exposure(setting, condition, name, clean, draw) for draw in range(draws))


def exposure(
    setting: Setting, condition: Condition, name: str, clean: FloatImage, draw: int
) -> tuple[FloatImage, KnownNoise]:
    """Return one of these draws."""
    rng = generator(setting.protocol.seed, name, condition.noise, f"{condition.dose:g}", draw)
    return expose(clean, setting.noise(condition.noise), condition.dose, rng)


def in_equal_noise(clean: FloatImage, noisy: FloatImage, other: FloatImage) -> FloatImage:
    """Add the noise of one exposure to another clean image, saturated at 0 and 1."""
    return np.clip(other + (noisy - clean), 0, 1)


def at_contrasts(signal: Signal, contrasts: Sequence[float]) -> list[Signal]:
    """Return the signal at each contrast, faintest first, keeping its sign; at its own contrast if there are none."""
    sizes = sorted({abs(contrast) for contrast in contrasts} - {0.0}) or [abs(signal.contrast)]
    return [replace(signal, contrast=float(np.copysign(size, signal.contrast))) for size in sizes]
