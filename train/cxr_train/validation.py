"""How long a validation takes, and on how many images it is affordable, so that the minutes of a run are kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from cxr_train.tasks import Task

MOST = 0.05  # of the time of a run, for its last validation, so that one that is three times as slow is still in time
ENOUGH = 3  # moments: the beginning, and the ends of two parts

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - no error: it leads out of a validation
    """A validation is not to go on."""


def validation_seconds(task: Task, model: nn.Module, device: torch.device) -> float:
    """Estimate how long a validation takes, from its second part, since the first warms up; where it has but one, from
    that.
    """
    seen: list[tuple[float, float]] = [(time.monotonic(), 0.0)]

    def note(share: float) -> None:
        seen.append((time.monotonic(), share))
        if len(seen) == ENOUGH:
            raise Stopped

    with contextlib.suppress(Stopped):
        task.validate(model, device, note)
    (earlier, less), (later, more) = seen[-2:]
    return (later - earlier) / (more - less)


def affordable_images(images: int, seconds: float, available: float) -> int:
    """The number of images, one or more, whose validation takes MOST of the available seconds at most.

    seconds: that a validation of all the images takes.
    """
    return max(1, min(images, int(images * MOST * available / seconds)))


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """So many of the items, from the first on."""
    return [items[i * len(items) // count] for i in range(count)]
