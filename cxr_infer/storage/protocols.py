"""Where X-rays come from and results go: a directory, or a bucket that fsspec knows. Engines see only this."""

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
    """What is in the place of a result."""

    ABSENT = "nothing"
    FINISHED = "the same result, from the same content by the same model and settings"
    OUTDATED = "a result of cxr-infer from other content, or by another model or settings"
    DAMAGED = "a result of cxr-infer, truncated or blanked"
    FOREIGN = "a file that is not a result of cxr-infer, or was changed since"


class Storage(Protocol):
    """A tree of files. Names in it are paths with `/`."""

    @property
    def shown(self) -> str:
        """Its name in tables, reports and messages, never with credentials."""

    @property
    def place(self) -> PurePath:
        """Its location, for comparison with others."""

    def path(self, name: str) -> Path:
        """Return the path of a file, for messages."""

    def list_into(self, listing: Listing) -> None:
        """Add every file to the listing. Raises UsageError if it cannot be listed."""

    def read(self, name: str, most: int) -> bytes:
        """Return a file's content. Raises ImageError if it is unreadable, empty or larger than `most` bytes."""

    def has(self, name: str) -> bool:
        """Whether a file of this name exists."""

    def output(self, made_by: bytes, shard: Shard | None) -> Output:
        """Return this place as an output. made_by: `digest` of the model's hash and all settings."""

    def worker_output(self, made_by: bytes, shard: Shard | None, run: str) -> Output:
        """Return the output for a worker of a run that has entered `output` elsewhere. run: its name, hexadecimal."""


class Output(Protocol):
    """A place to write results, for a `with` statement. Entering raises UsageError if it cannot be used."""

    def __enter__(self) -> Output: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def shown(self, target: Path) -> str:
        """Return the name of a result in reports."""

    def landing(self, target: Path) -> PurePath:
        """Return the real directory of a result, links resolved."""

    def check(self, target: Path) -> None:
        """Raise ImageError if no result can be written there; called before it is computed."""

    def claim(self, name: str, target: Path) -> None:
        """Claim the file of a result; once for each. Raises ImageError if another input has the same file."""

    def state(self, name: str, target: Path) -> State:
        """Return what is at the target. FINISHED means that model and settings agree; for the source see `made_of`.

        Raises ImageError as `check` does.
        """

    def made_of(self, name: str, source: bytes) -> bool:
        """Whether the recorded result of this name was made from content with this digest."""

    def read(self, target: Path, most: int) -> bytes:
        """Return a result's content. Raises ImageError if it is unreadable or larger than `most` bytes."""

    def write(self, name: str, target: Path, source: bytes, content: bytes) -> None:
        """Record and write one result. Raises ImageError; OutputLostError if no further result can be written."""

    def known(self, name: str) -> list[Entry]:
        """Return the records of a name, for another process to `learn`."""

    def learn(self, name: str, entries: list[Entry]) -> None:
        """Adopt the records of a name that another process knew."""

    def take_in(self, run: str) -> None:
        """Adopt the records of a run's workers, all of which must have ended."""
