"""The input of a study, and the store for its units of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Contract

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.exposures import Frames
from cxr_infer.lab.noise import DetectorNoise, KnownNoise
from cxr_infer.lab.protocol import Protocol

NamedArrays = Mapping[str, NDArray[np.generic]]


class Method(Contract):
    """A denoiser under test. name: as displayed. `told` is the true noise, used only by classical methods."""

    @property
    def name(self) -> str: ...

    def __call__(self, noisy: FloatImage, told: KnownNoise) -> FloatImage:
        """Denoise `noisy`, (H, W) float32 in [0, 1]; the result has the same shape and range."""


class UnitStore(Contract):
    """Computes each unit once: units of an interrupted run are read instead of computed again."""

    def unit(self, key: str, compute: Callable[[], NamedArrays]) -> NamedArrays:
        """Return the result of `compute` for a key unique within the run. Raises LabStopped between units if asked to
        stop.
        """

    def expect(self, units: int) -> None:
        """Announce the number of units, for the progress bar."""


@dataclass(frozen=True)
class Setting:
    """The input of a study. images: clean, by name, (H, W) float32 in [0, 1]. detectors: the user's own, by names in
    the protocol's noises. frames: repeated exposures of one object, if any (`exposures.register`).
    """

    protocol: Protocol
    images: Mapping[str, FloatImage]
    methods: Sequence[Method]
    detectors: Mapping[str, DetectorNoise] = field(default_factory=dict)
    frames: Frames | None = None

    def noise(self, name: str) -> str | DetectorNoise:
        """Return what `noise.expose` takes for one of the protocol's noises."""
        return self.detectors.get(name, name)

    def draws_of(self, method: Method) -> int:
        """Return the number of draws of a method."""
        return self.protocol.draws_of(method.name)

    def key_of(self, method: Method) -> str:
        """Return a method's part of a unit's key: its name, number of draws and hash."""
        model = getattr(method, "sha256", "")
        return f"{method.name}, {self.draws_of(method)} draws{f', {model}' if model else ''}"
