"""One file of the torture directory: how it is made and what must become of it; the pictures most of them hold."""

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
    """One file: how it is made, what becomes of it, part of the reason given.

    make: bytes, or a function that puts something at the path. stored: pixels that come back at strength 0, where they
    are checked. orientation: EXIF's number that the result carries.
    """

    make: bytes | Callable[[Path], object]
    becomes: str
    reason: str = ""
    stored: NDArray[Any] | None = None
    orientation: int = 1


def link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)
