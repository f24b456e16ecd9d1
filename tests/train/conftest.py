"""A directory of clean phantoms, named as the NIH release names its files, as training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cxr_infer.image_io import write_image
from cxr_infer.intensity import to_bytes
from cxr_infer.phantom import render_phantom
from cxr_train.config import TrainConfig
from cxr_train.data import XrayFiles, find_xrays

PATIENTS = 10


@pytest.fixture(scope="session")
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    base = to_bytes(render_phantom(1, 128))
    for patient in range(PATIENTS):
        for visit in range(2):
            image = np.roll(base, 3 * patient + visit, axis=1)
            write_image(folder / f"images_{visit:03}" / f"{patient:08}_{visit:03}.png", image)
    return folder


@pytest.fixture(scope="session")
def files(data_directory: Path) -> XrayFiles:
    return find_xrays(data_directory)


@pytest.fixture
def small_config() -> TrainConfig:
    """A `window` model small enough to train in a second."""
    return TrainConfig(
        "window",
        arguments={"widths": [8, 8, 8, 8]},
        steps=6,
        batch=2,
        crop=32,
        validate_every=3,
        validate_images=1,
        warmup=2,
    )


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models hold equal parameters."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
