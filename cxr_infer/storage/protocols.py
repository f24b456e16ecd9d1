"""The interfaces of storage and output, which directories and buckets implement and engines use."""

from __future__ import annotations

from enum import Enum
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cxr_infer.storage.ledger import Entry
    from cxr_infer.storage.listing import Listing
    from cxr_infer.storage.shard import Shard


class State(Enum):
    """State of the file at the path of a result."""

    ABSENT = "nothing"
    FINISHED = "the same result, from the same content by the same model and settings"
    OUTDATED = "a result of cxr-infer from other content, or by another model or settings"
    DAMAGED = "a result of cxr-infer, truncated or blanked"
    FOREIGN = "a file that was not written by cxr-infer, or was changed since"


class Storage(Protocol):
    """A tree of files. Names in it are paths with `/`."""

    @property
    def shown(self) -> str:
        """Its name in tables, reports and messages, without credentials."""

    @property
    def place(self) -> PurePath:
        """Its location, for comparison with other places."""

    def path(self, name: str) -> Path:
        """Return the path of a file, for messages."""

    def list_into(self, listing: Listing) -> None:
        """Add every file to the listing. Raises UsageError if it cannot be listed."""

    def read(self, name: str, most: int) -> bytes:
        """Return a file's content. Raises ImageError if it is unreadable, empty or larger than `most` bytes."""

    def has(self, name: str) -> bool:
        """Whether a file of this name exists."""

    def output(self, made_by: bytes, shard: Shard | None) -> Output:
        """Return an output here. made_by: `digest` of the model's hash and all settings."""

    def worker_output(self, made_by: bytes, shard: Shard | None, run: str) -> Output:
        """Return the output for a worker of a run that has entered `output` in another process. run: its hex name."""


class Output(Protocol):
    """A place to write results, for a `with` statement. Entering raises UsageError if it cannot be used."""

    def __enter__(self) -> Output: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def shown(self, target: Path) -> str:
        """Return the path or URL of a result, for reports."""

    def landing(self, target: Path) -> PurePath:
        """Return the real directory of a result, links resolved."""

    def check(self, target: Path) -> None:
        """Raise ImageError if a result cannot be written there; called before it is computed."""

    def claim(self, name: str, target: Path) -> None:
        """Claim the file of a result, once per input. Raises ImageError if another input has claimed it."""

    def state(self, name: str, target: Path) -> State:
        """Return the state of the target. FINISHED means that model and settings match; for the source see `made_of`.

        Raises ImageError as `check` does.
        """

    def made_of(self, name: str, source: bytes) -> bool:
        """Whether the result recorded for this name was made from a source with this digest."""

    def read(self, target: Path, most: int) -> bytes:
        """Return a result's content. Raises ImageError if it is unreadable or larger than `most` bytes."""

    def write(self, name: str, target: Path, source: bytes, content: bytes) -> None:
        """Record and write a result. Raises ImageError; OutputLostError if no further result can be written."""

    def known(self, name: str) -> list[Entry]:
        """Return the records of a name, for another process to `learn`."""

    def learn(self, name: str, entries: list[Entry]) -> None:
        """Adopt the records of a name from another process."""

    def take_in(self, run: str) -> None:
        """Adopt the records of a run's workers, which must have ended."""
