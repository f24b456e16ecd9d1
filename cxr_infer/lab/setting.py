"""What a study works on, and who keeps what it has computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Contract

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.exposures import Frames
from cxr_infer.lab.noise import Detector, Told
from cxr_infer.lab.protocol import Protocol

Arrays = Mapping[str, NDArray[np.generic]]


class Method(Contract):
    """A denoiser under test. name: as it is shown. told is what is true of the noise, which only classical ones use."""

    @property
    def name(self) -> str: ...

    def __call__(self, noisy: FloatImage, told: Told) -> FloatImage:
        """noisy: (H, W) float32 in [0, 1]. Returns the same kind."""


class Work(Contract):
    """Computes each unit once: what was computed before the run was stopped is read, not computed again."""

    def unit(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` gives for a key that is unique within the run. Raises Stopped at a signal, between units."""

    def expect(self, units: int) -> None:
        """Say beforehand how many units a study takes, for the progress bar."""


@dataclass(frozen=True)
class Setting:
    """What a study works on. images: clean ones by name, (H, W) float32 in [0, 1]. detectors: the user's own, by the
    names that the protocol's noises have. frames: repeated exposures of one object, if the user has them
    (`exposures.register`)."""

    protocol: Protocol
    images: Mapping[str, FloatImage]
    methods: Sequence[Method]
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    frames: Frames | None = None

    def noise(self, name: str) -> str | Detector:
        """What `noise.expose` takes for one of the protocol's noises."""
        return self.detectors.get(name, name)

    def draws_of(self, method: Method) -> int:
        """How many draws a method is measured with."""
        return self.protocol.draws_of(method.name)

    def key_of(self, method: Method) -> str:
        """A method in the key of a unit: what it is, and on how many draws the unit rests."""
        model = getattr(method, "sha256", "")
        return f"{method.name}, {self.draws_of(method)} draws{f', {model}' if model else ''}"
