"""Phantoms as training data, and the configuration of a small training run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cxr_train.config import TrainConfig
from cxr_train.data import XrayFiles, find_xrays


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
    """Whether two models have equal parameters."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
