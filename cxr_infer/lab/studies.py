"""The studies by name: each turns a setting into findings, in units of work that can be stopped and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol as Contract

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.protocol import Protocol

Arrays = Mapping[str, NDArray[np.generic]]


class Method(Contract):
    """A denoiser under test. name: as it is shown. told is what is true of the noise, which only classical ones use."""

    name: str

    def __call__(self, noisy: FloatImage, told: object) -> FloatImage:
        """noisy: (H, W) float32 in [0, 1]. Returns the same kind."""


class Work(Contract):
    """Computes each unit once: what was computed before the run was stopped is read, not computed again."""

    def unit(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` gives for a key that is unique within the run. Raises Stopped at a signal, between units."""

    def expect(self, units: int) -> None:
        """Say beforehand how many units a study takes, for the progress bar."""


@dataclass(frozen=True)
class Setting:
    """What a study works on. images: clean ones by name, (H, W) float32 in [0, 1]."""

    protocol: Protocol
    images: Mapping[str, FloatImage]
    methods: Sequence[Method]


Study = Callable[[Setting, Work], list[Finding]]
STUDIES: dict[str, Study] = {}  # filled below, one line a study
