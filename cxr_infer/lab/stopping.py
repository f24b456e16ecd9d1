"""A requested stop ends a run between two images, and a program under test at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.command_method import CommandMethod
from cxr_infer.lab.noise import KnownNoise
from cxr_infer.lab.setting import Method


class LabStopped(Exception):  # noqa: N818 - a requested stop is not an error
    """The run was asked to stop; completed units are stored."""


class Stoppable:
    """A method that raises LabStopped instead of starting once a stop is requested."""

    def __init__(self, method: Method, stopped: Callable[[], bool]) -> None:
        self.name, self.sha256 = method.name, getattr(method, "sha256", "")
        self._method = method.until(stopped) if isinstance(method, CommandMethod) else method
        self._stopped = stopped

    def __call__(self, noisy: FloatImage, told: KnownNoise) -> FloatImage:
        if self._stopped():
            raise LabStopped
        return self._method(noisy, told)


def until(stopped: Callable[[], bool], methods: Sequence[Method]) -> list[Method]:
    """Return the methods, made to end when a stop is requested."""
    return [Stoppable(method, stopped) for method in methods]
