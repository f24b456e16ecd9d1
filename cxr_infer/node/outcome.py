"""The outcome of an attempt to send."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Fate(Enum):
    """What an attempt means for the instance and its destination."""

    ACKNOWLEDGED = auto()
    REFUSED = auto()  # only this instance; others may succeed
    DOWN = auto()  # the destination or the connection; every other instance would fail too


@dataclass(frozen=True)
class Outcome:
    """The fate, and a reason if it is not success."""

    fate: Fate
    reason: str = ""


ACKNOWLEDGED = Outcome(Fate.ACKNOWLEDGED)
