"""A share of the images of a run, for batch schedulers that start the same command N times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from cxr_infer.errors import UsageError
from cxr_infer.formats.registry import result_name
from cxr_infer.storage.claims import folded

WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
LABEL = re.compile(r"([0-9]+)-of-([0-9]+)")  # in file names


@dataclass(frozen=True)
class Shard:
    """Share `index` of `count`, counted from 1."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"shard {self} is outside 1/{self.count}..{self.count}/{self.count}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def label(self) -> str:
        return f"{self.index}-of-{self.count}"

    def holds(self, name: str) -> bool:
        """Whether a file belongs to this share. It depends only on the name, so other files have no influence.

        Names whose results are the same file on some file systems fall into the same share, which reports the clash.
        """
        result = folded(result_name(name)).encode("utf-8", "surrogatepass")
        return int.from_bytes(sha256(result).digest()[:8], "big") % self.count == self.index - 1


def parse_shard(text: str) -> Shard:
    """Parse `I/N`. Raises UsageError."""
    found = WRITTEN.fullmatch(text)
    if found is None or int(found[2]) == 0:
        raise UsageError(f"shard {text!r} is not I/N with 1 <= I <= N; write 1/8 for the first of eight")
    return Shard(int(found[1]), int(found[2]))


def is_sibling(name: str, shard: Shard | None) -> bool:
    """Whether a file name has the label of another shard of the same run, which may be active."""
    found = LABEL.search(name)
    return bool(shard and found and int(found[2]) == shard.count and int(found[1]) != shard.index)
