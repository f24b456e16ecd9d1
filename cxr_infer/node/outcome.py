"""What became of an attempt to send."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Fate(Enum):
    """What an attempt means for an instance and for its destination."""

    ACKNOWLEDGED = auto()
    REFUSED = auto()  # this one; others may go
    DOWN = auto()  # the destination, or the way to it; every other would fail as well


@dataclass(frozen=True)
class Outcome:
    """fate, and the reason in words where it is not the good one."""

    fate: Fate
    reason: str = ""


ACKNOWLEDGED = Outcome(Fate.ACKNOWLEDGED)
