"""Where X-rays are read from and results go: a directory, or a bucket that fsspec knows. The engines see only this."""

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
    """What lies where a result goes."""

    ABSENT = "nothing"
    FINISHED = "the same result, from the same content by the same model and settings"
    OUTDATED = "a result of this program, from other content or by another model or settings"
    DAMAGED = "a result of this program, cut short or blanked"
    FOREIGN = "a file that is no result of this program, or was changed since"


class Storage(Protocol):
    """A tree of files. Names in it are paths with `/`."""

    @property
    def shown(self) -> str:
        """What tables, reports and messages call it: never with credentials."""

    @property
    def place(self) -> PurePath:
        """Where it is, to be compared with others."""

    def path(self, name: str) -> Path:
        """What messages call a file."""

    def list_into(self, listing: Listing) -> None:
        """Put every file into the listing. Raises UsageError where there is nothing that can be listed."""

    def read(self, name: str, most: int) -> bytes:
        """What a file holds. Raises ImageError where it cannot be read, is empty or has over `most` bytes."""

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def output(self, made_by: bytes, shard: Shard | None) -> Output:
        """The same as the place for results. made_by: `digest` of the model's hash and all settings."""

    def worker_output(self, made_by: bytes, shard: Shard | None, run: str) -> Output:
        """The same for a worker of a run that has entered `output` elsewhere. run: its name, of hexadecimal digits."""


class Output(Protocol):
    """Results in the making, to be used in a `with` statement. Entering raises UsageError where it cannot be used."""

    def __enter__(self) -> Output: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def shown(self, target: Path) -> str:
        """What reports call a result."""

    def landing(self, target: Path) -> PurePath:
        """The directory where a result lands, whatever links lead there."""

    def check(self, target: Path) -> None:
        """Raises ImageError where no result can lie there, before any is computed."""

    def claim(self, name: str, target: Path) -> None:
        """To be called for each result once. Raises ImageError where its file is another's under a like name."""

    def state(self, name: str, target: Path) -> State:
        """What lies at the target; FINISHED only says that the model and settings agree: see `made_of`.

        Raises ImageError as `check` does.
        """

    def made_of(self, name: str, source: bytes) -> bool:
        """Whether the recorded result of that name was made of content with this digest."""

    def read(self, target: Path, most: int) -> bytes:
        """What a result holds. Raises ImageError where it cannot be read or has over `most` bytes."""

    def write(self, name: str, target: Path, source: bytes, content: bytes) -> None:
        """Record and write one result. Raises ImageError, as OutputLostError where no other could be written."""

    def known(self, name: str) -> list[Entry]:
        """What is recorded of the results of that name, to be told to another process, which must `learn` it."""

    def learn(self, name: str, entries: list[Entry]) -> None:
        """Believe what another process knew."""

    def take_in(self, run: str) -> None:
        """Make the records of a run's workers its own; all of them must have ended."""
