"""Input of the runs whose HTML reports are tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.formats.readers import write_image


@pytest.fixture
def xrays(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> Path:
    folder = tmp_path / "ward <7>"
    for index in range(3):
        write_image(folder / f"{index}.png", noisy_bytes[: 80 + 8 * index, :120])
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an image")
    return folder
