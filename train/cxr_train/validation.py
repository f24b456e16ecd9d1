"""How long a validation takes, and on how many images it is affordable, so that the minutes of a run are kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from cxr_train.tasks import Task

MOST = 0.1  # of the time of a run, for its last validation

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - no error: it leads out of a validation
    """A validation is not to go on."""


class _FirstPart(Stopped):
    """The first part of a validation has come to its end."""

    def __init__(self, share: float) -> None:
        self.share = share


def validation_seconds(task: Task, model: nn.Module, device: torch.device) -> float:
    """Estimate how long a validation takes, from its first part."""
    began = time.monotonic()

    def seen(share: float) -> None:
        raise _FirstPart(share)

    try:
        task.validate(model, device, seen)
    except _FirstPart as part:
        return (time.monotonic() - began) / part.share
    return time.monotonic() - began


def affordable_images(images: int, seconds: float, available: float) -> int:
    """The number of images, one or more, whose validation takes MOST of the available seconds at most.

    seconds: that a validation of all the images takes.
    """
    return max(1, min(images, int(images * MOST * available / seconds)))


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """So many of the items, from the first on."""
    return [items[i * len(items) // count] for i in range(count)]
