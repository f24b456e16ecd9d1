"""Slow methods: store their denoised images on disk, for other studies and later runs.

All studies see the same draws of a clean image (`conditions.exposures`), so that each is denoised only once.
"""

from __future__ import annotations

import hashlib
import math
import threading
from pathlib import Path, PurePath

import numpy as np

from cxr_infer.files import open_below, write_below
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.noise import KnownNoise
from cxr_infer.lab.setting import Method

STORED = np.dtype("<f4")  # the pixels of a stored image, row by row; its shape is that of the noisy one


class Remembered:
    """A method that denoises no image twice: results are stored in a folder, by the hash of their inputs."""

    def __init__(self, method: Method, out: Path, place: PurePath, belongs_to: str) -> None:
        """out: folder of the result. place: of the images in it. belongs_to: what else identifies the method, such as
        the versions of its packages.
        """
        self.name, self.sha256 = method.name, getattr(method, "sha256", "")
        self._method, self._out, self._place = method, out, place
        self._belongs_to = f"{self.name} {self.sha256} {belongs_to}".encode()
        self._lock, self._turns = threading.Lock(), dict[str, threading.Lock]()

    def __call__(self, noisy: FloatImage, told: KnownNoise) -> FloatImage:
        """Raises ImageError if the result cannot be stored or a link, FIFO or the like is in its place."""
        key = self._key(noisy, told)
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # two studies may need an image at once
            place = self._place / f"{key}.f32"
            stored = _stored(self._out, place, noisy.shape)
            if stored is not None:
                return stored
            denoised = np.asarray(self._method(noisy, told), dtype=np.float32)
            write_below(self._out, place, denoised.astype(STORED).tobytes())
            return denoised

    def _key(self, noisy: FloatImage, told: KnownNoise) -> str:
        found = hashlib.sha256(self._belongs_to)
        for array in (noisy, told.curve, told.spectrum):
            found.update(f"{array.shape} {array.dtype}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:32]


def _stored(out: Path, place: PurePath, shape: tuple[int, ...]) -> FloatImage | None:
    """Return a stored image, or None if it is missing or damaged and must be computed. Raises ImageError."""
    size = math.prod(shape) * STORED.itemsize
    try:
        with open_below(out, place) as file:
            content = file.read(size + 1)  # one byte more than the image has: never more memory than that
    except OSError:
        return None
    return np.frombuffer(content, STORED).reshape(shape).astype(np.float32) if len(content) == size else None
