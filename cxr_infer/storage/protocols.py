"""Where X-rays are read from and results go: a directory, or a bucket that fsspec knows. The engines see only this."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from cxr_infer.errors import UsageError
from cxr_infer.folder import is_link_at

if TYPE_CHECKING:
    from cxr_infer.storage.directory_output import State
    from cxr_infer.storage.ledger import Entry
    from cxr_infer.storage.listing import Listing
    from cxr_infer.storage.shard import Shard

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
USER = re.compile(r"(://)(?:[^/\s]*|\S*:\S*)@")  # and password; a password may hold slashes
QUERY = re.compile(r"(://[^\s?\"']*)\?[^\s\"']*")


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


def open_storage(location: str, *, follow_links: bool = False) -> Storage:
    """A plain path or file:// as a directory, another URL as a bucket. Raises UsageError for what is neither."""
    scheme = _scheme(location)
    if scheme is not None and scheme != "file":
        from cxr_infer.storage.bucket import open_bucket

        return open_bucket(location, scheme)
    from cxr_infer.storage.directory import Directory

    return Directory(_local(location), follow_links)


def default_output(source: str) -> str:
    """`IN-denoised`, beside IN. Raises UsageError where that is a link, which nobody asked to follow."""
    scheme = _scheme(source)
    if scheme not in (None, "file"):
        return f"{source.rstrip('/')}-denoised"
    resolved = _local(source).resolve()
    output = resolved.with_name(f"{resolved.name}-denoised")
    if is_link_at(output):
        raise UsageError(f"{output}: is a link; give --out the directory where results shall go")
    return str(output)


def without_secrets(text: str) -> str:
    """A text whose URLs have lost what may be a credential: users, passwords and queries."""
    return QUERY.sub(r"\1", USER.sub(r"\1", text))


def refuse_secrets(location: str) -> None:
    """Raises UsageError for a URL that holds credentials, which other users of a machine can see."""
    if without_secrets(location) != location:
        raise UsageError(
            f"{without_secrets(location)}: a URL must not hold credentials or a query; "
            "give credentials in the environment or the store's own files"
        )


def _local(location: str) -> Path:
    """Of a plain path or file://."""
    return Path(location if _scheme(location) is None else url2pathname(urlsplit(location).path))


def _scheme(location: str) -> str | None:
    found = URL.match(location)
    return found[1].lower() if found else None
