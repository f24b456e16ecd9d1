"""One file of the torture directory: how it is made and its expected outcome; the pictures that most files contain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.infer.formats.picture_files import SIDE

DONE, FAILED, SKIPPED, IGNORED = "done", "failed", "skipped", "ignored"

GRAY = (np.add.outer(np.arange(SIDE[0]) * 3, np.arange(SIDE[1])) % 256).astype(np.uint8)
DEEP = GRAY.astype(np.uint16) * 257


@dataclass(frozen=True)
class Case:
    """One file: how it is made, its expected outcome, and part of the reason reported.

    make: its bytes, or a function that creates something at the path. stored: the pixels returned at strength 0, or
    None if not checked. orientation: the EXIF orientation of the result.
    """

    make: bytes | Callable[[Path], object]
    becomes: str
    reason: str = ""
    stored: NDArray[Any] | None = None
    orientation: int = 1


def link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)
