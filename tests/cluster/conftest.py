"""X-rays for many workers: 200 small phantoms in a tree, bad files among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxr_infer.image_io import write_image
from cxr_infer.intensity import from_unit
from cxr_infer.mottle import poisson_mottle
from cxr_infer.phantom import render_phantom

FILES, SIDE = 200, 64
BAD = {"1/damaged.png": b"\x89PNG\r\n\x1a\nhalf", "empty.png": b"", "2/text.jpg": b"no JPEG"}

MEASURED = ("milliseconds", "megapixels_per_second")  # that differ from run to run


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of 200 X-rays, and with them what is broken, hidden or no X-ray."""
    folder = tmp_path_factory.mktemp("many") / "xrays"
    noise = np.random.default_rng(1)
    clean = render_phantom(2, SIDE)
    for index in range(FILES):
        noisy = poisson_mottle(np.roll(clean, index, axis=1), 70.0 + index, noise)
        kind = (".png", ".tif", ".jpg", ".pgm")[index % 4]
        write_image(folder / str(index % 3) / f"{index:03}{kind}", from_unit(np.minimum(noisy, 1), np.dtype(np.uint8)))
    for name, content in {**BAD, "notes.txt": b"no X-ray", ".hidden/a.png": b"x"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All results, without the hidden files that belong to the runs."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def records(*reports: Path) -> list[dict[str, Any]]:
    """The records of .jsonl reports without what differs from run to run, in order of names."""
    lines = [json.loads(line) for path in reports for line in path.read_text().splitlines()[:-1]]
    for record in lines:
        for key in (*MEASURED, "output"):
            record.pop(key)
    return sorted(lines, key=lambda record: str(record["name"]))
