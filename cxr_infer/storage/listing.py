"""List the files under a directory or prefix: X-rays, unreadable files named like X-rays, and the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cxr_infer.formats.registry import READABLE_SUFFIXES, index_of
from cxr_infer.scratch import DiskList
from cxr_infer.storage.shard import Shard

PACKED_SUFFIXES = frozenset({".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar"})
PACKED = "packed; unpack it first if it holds X-rays"


@dataclass
class Listing:
    """The lists of a storage. Names are paths with `/`; with a shard, only those of its share.

    problems, ignored: (name, reason).
    """

    shard: Shard | None = None
    names: DiskList[str] = field(default_factory=DiskList)
    problems: DiskList[tuple[str, str]] = field(default_factory=DiskList)
    ignored: DiskList[tuple[str, str]] = field(default_factory=DiskList)
    passed_over: int = 0  # files of other shards

    def holds(self, name: str) -> bool:
        """Whether a file belongs to this share. Counts the others."""
        if self.shard is None or self.shard.holds(name):
            return True
        self.passed_over += 1
        return False

    def problem(self, name: str, reason: str) -> None:
        if self.holds(name):
            self.problems.append((name, reason))

    def ignore(self, name: str, reason: str) -> None:
        if self.holds(name):
            self.ignored.append((name, reason))

    def file(self, name: str, holds_xray: Callable[[], bool]) -> None:
        """Add a readable file of this share. holds_xray: called if its name has no known suffix."""
        path = PurePosixPath(name)
        if (format_name := index_of(path.name)) is not None:
            self.ignored.append((name, f"the index of {format_name} media"))
        elif named_image(name) or holds_xray():
            self.names.append(name)
        elif path.suffix.lower() in PACKED_SUFFIXES:
            self.ignored.append((name, PACKED))
        else:
            self.ignored.append((name, "not an X-ray by name or content"))


def named_image(name: str) -> bool:
    """Whether a name has the suffix of a supported format."""
    return PurePosixPath(name).suffix.lower() in READABLE_SUFFIXES
