"""Select the images of the report while the run goes on: the worst, and a random sample of the others."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Generic, TypeVar

from cxr_infer.report.results import FileResult

SEED = 0  # so that equal runs show the same images

Item = TypeVar("Item")
Badness = tuple[bool, float]


def badness(result: FileResult) -> Badness:
    """Return a sort key, larger is worse: the lowest PSNR first; without reference, the most remaining mottle."""
    if result.psnr is not None:
        return (True, -result.psnr)
    return (False, result.mottle_after or 0.0)


class Selection(Generic[Item]):
    """At most `limit` items: all of them, or else half the worst and half a random sample of the others.

    Items not among the worst have equal chances to be in the sample (Vitter, ACM TOMS 11(1), 1985, algorithm R). Each
    is offered to the sample once: on arrival, or when worse items displace it.
    """

    def __init__(self, limit: int, seed: int = SEED) -> None:
        self._most_worst = (limit + 1) // 2
        self._most_sampled = limit // 2
        self._worst: list[tuple[Badness, int, Item]] = []  # a heap, the least bad on top
        self._sampled: list[tuple[int, Item]] = []
        self._passed = 0  # items offered to the sample
        self._random = random.Random(seed)
        self.offered = 0

    def offer(self, bad: Badness, make: Callable[[], Item]) -> Item | None:
        """Create the item if it is selected. Returns the item it replaces, if any."""
        self.offered += 1
        number = self.offered
        if self._most_worst == 0:
            return None
        if len(self._worst) < self._most_worst:
            heapq.heappush(self._worst, (bad, -number, make()))
            return None
        if (bad, -number) < self._worst[0][:2]:
            place = self._place()
            return None if place is None else self._put(place, number, make())
        _, earlier, pushed_out = heapq.heappushpop(self._worst, (bad, -number, make()))
        place = self._place()
        return pushed_out if place is None else self._put(place, -earlier, pushed_out)

    def _place(self) -> int | None:
        """Return the place of the next item in the sample; None if it is not sampled."""
        self._passed += 1
        if len(self._sampled) < self._most_sampled:
            return len(self._sampled)
        place = self._random.randrange(self._passed)
        return place if place < self._most_sampled else None

    def _put(self, place: int, number: int, item: Item) -> Item | None:
        """Put an item into the sample. Returns the item it replaces, if any."""
        replaced = self._sampled[place : place + 1]
        self._sampled[place : place + 1] = [(number, item)]
        return replaced[0][1] if replaced else None

    @property
    def complete(self) -> bool:
        """Whether no offered item was dropped."""
        return self.offered == len(self._worst) + len(self._sampled)

    def worst(self) -> list[Item]:
        """Return the worst items, the worst first."""
        return [item for *_, item in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)]

    def sample(self) -> list[Item]:
        """Return the sample, in the order of the run."""
        return [item for _, item in sorted(self._sampled, key=lambda entry: entry[0])]

    def all(self) -> list[Item]:
        """Return the worst items and the sample, in the order of the run."""
        numbered = [(-negative, item) for _, negative, item in self._worst] + self._sampled
        return [item for _, item in sorted(numbered, key=lambda entry: entry[0])]
