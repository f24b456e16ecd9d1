"""A run that was asked to stop ends between two images, and a program under test ends at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.command_method import CommandMethod
from cxr_infer.lab.noise import Told
from cxr_infer.lab.setting import Method


class Stopped(Exception):  # noqa: N818 - a stop that was asked for is no error
    """The run was asked to stop; what was computed is stored."""


class Stoppable:
    """A method that is not begun any more once a stop was asked for. Raises Stopped then."""

    def __init__(self, method: Method, stopped: Callable[[], bool]) -> None:
        self.name, self.sha256 = method.name, getattr(method, "sha256", "")
        self._method = method.until(stopped) if isinstance(method, CommandMethod) else method
        self._stopped = stopped

    def __call__(self, noisy: FloatImage, told: Told) -> FloatImage:
        if self._stopped():
            raise Stopped
        return self._method(noisy, told)


def until(stopped: Callable[[], bool], methods: Sequence[Method]) -> list[Method]:
    """The methods, which end when a stop is asked for."""
    return [Stoppable(method, stopped) for method in methods]
