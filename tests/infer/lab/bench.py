"""Methods of known effect and a setting with a small protocol, for the tests of the lab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.lab.methods import CLASSICAL, NOISY, NamedMethod
from cxr_infer.lab.protocol import Protocol, Signal
from cxr_infer.lab.setting import NamedArrays, Setting

FloatImage = NDArray[np.float32]

IDENTITY = NamedMethod(NOISY, CLASSICAL[NOISY])
PROTOCOL = Protocol(
    name="test",
    version=1,
    seed=5,
    phantoms=1,
    side=192,
    spacing=None,
    doses=(2000.0,),
    noises=("white", "canon_dr_chest"),
    methods=(NOISY,),
    signals=(Signal("nodule", 10.0, 20.0),),
    contrasts=(10.0, 40.0),
    draws=3,
    studies=(),
)


def gaussian(width: float) -> NamedMethod:
    """A linear filter: a Gaussian of that standard deviation in px."""

    def blur(noisy: FloatImage, told: object) -> FloatImage:
        return np.asarray(cv2.GaussianBlur(noisy, (0, 0), width), dtype=np.float32)

    return NamedMethod(f"blur {width:g}", blur)


def faint_eraser(levels: float) -> NamedMethod:
    """A filter that erases all detail within `levels` gray levels of the image's median."""

    def erase(noisy: FloatImage, told: object) -> FloatImage:
        broad = np.full_like(noisy, np.median(noisy))
        detail = noisy - broad
        return np.asarray(broad + np.where(np.abs(detail) > levels / 255, detail, 0), dtype=np.float32)

    return NamedMethod("eraser", erase)


@dataclass
class Notebook:
    """A unit store in memory that counts the units expected and requested."""

    done: dict[str, NamedArrays] = field(default_factory=dict)
    expected: int = 0
    asked: int = 0

    def unit(self, key: str, compute: Callable[[], NamedArrays]) -> NamedArrays:
        self.asked += 1
        if key not in self.done:
            self.done[key] = compute()
        return self.done[key]

    def expect(self, units: int) -> None:
        self.expected += units


def setting(images: dict[str, FloatImage], *methods: NamedMethod, **changed: object) -> Setting:
    """A setting of the test protocol with some of its fields changed."""
    return Setting(replace(PROTOCOL, **changed), images, methods)  # type: ignore[arg-type]
