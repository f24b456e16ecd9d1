"""Measure how long a validation takes, and choose how many images the minutes of a run allow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from cxr_train.tasks import Task

MOST = 0.05  # fraction of a run's time for its last validation; even one three times slower ends in time
ENOUGH = 3  # times to note: the start, and the ends of two parts

T = TypeVar("T")


class ValidationStopped(Exception):  # noqa: N818 - not an error: it leaves a validation
    """Raised to end a validation early."""


def validation_seconds(task: Task, model: nn.Module, device: torch.device) -> float:
    """Estimate the duration of a validation from its second part, since the first warms up, or from its only part."""
    seen: list[tuple[float, float]] = [(time.monotonic(), 0.0)]

    def note(share: float) -> None:
        seen.append((time.monotonic(), share))
        if len(seen) == ENOUGH:
            raise ValidationStopped

    with contextlib.suppress(ValidationStopped):
        task.validate(model, device, note)
    (earlier, less), (later, more) = seen[-2:]
    return (later - earlier) / (more - less)


def affordable_images(images: int, seconds: float, available: float) -> int:
    """Return the number of images, at least one, whose validation takes at most MOST of the available seconds.

    seconds: duration of a validation of all images.
    """
    return max(1, min(images, int(images * MOST * available / seconds)))


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return `count` evenly spaced items, starting with the first."""
    return [items[i * len(items) // count] for i in range(count)]
