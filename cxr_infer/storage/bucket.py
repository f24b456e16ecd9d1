"""A bucket, or a prefix in it, as source of X-rays or place for results: S3 and other stores of fsspec.

Objects appear atomically. Each result has a record object, by which later runs recognise it; the record is written
first, so that a run can be killed at any moment. Nothing is locked: if two runs write the same result, one of
them wins.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, TypeVar

from cxr_infer.errors import CxrError, ImageError, OutputLostError, UsageError
from cxr_infer.extras import install_command
from cxr_infer.formats.registry import SIGNATURE_LENGTH, is_xray
from cxr_infer.storage.claims import Claims
from cxr_infer.storage.ledger import Entry, Remains, digest, parse_line
from cxr_infer.storage.listing import Listing, named_image
from cxr_infer.storage.protocols import State
from cxr_infer.storage.shard import Shard
from cxr_infer.storage.urls import refuse_secrets, without_secrets

# URL scheme -> packages needed in addition to the extra `cloud`
BUCKET_PACKAGES: dict[str, tuple[str, ...]] = {
    "s3": (),
    "gs": ("gcsfs",),
    "az": ("adlfs",),
    "memory": (),  # in this process, for tests
}
RECORDS_FOLDER = ".cxr-infer"  # folder of the record objects in an output
MARK = f"{RECORDS_FOLDER}/output.json"
CHECK = "check the URL and the credentials in the environment or the store's own files"
FLAT = ("gs", "az")  # schemes whose `find` returns keys unchanged; S3 is handled separately
PAGE = 1000  # names per request, the limit of S3

T = TypeVar("T")


def open_bucket(url: str, scheme: str) -> Bucket:
    """Open a bucket. Raises UsageError for an unsupported scheme, credentials in the URL, or a missing package."""
    refuse_secrets(url)
    if scheme not in BUCKET_PACKAGES:
        raise UsageError(f"{url}: unsupported URL scheme; use s3://, gs://, az://, file:// or a path")
    try:
        from fsspec.core import url_to_fs

        files, root = _tried(lambda: url_to_fs(url, use_listings_cache=False), UsageError, url, "cannot be used")
    except ImportError as error:
        command = install_command("cloud", *BUCKET_PACKAGES[scheme])
        raise UsageError(f"{url}: object storage needs more packages; run: {command}") from error
    if not root.strip("/") or url.lower().startswith(f"{scheme}:///"):
        raise UsageError(f"{url}: names no bucket; give {scheme}://BUCKET/PREFIX")
    root = root.rstrip("/") + "/" * (len(url) - len(url.rstrip("/")) - 1)  # further slashes are folders without a name
    return Bucket(files, root, url.rstrip("/"), scheme)


@dataclass(frozen=True)
class Bucket:
    """A `Storage` under a prefix of an object store. Paths are relative to the prefix.

    Names are keys without the prefix, otherwise unchanged: `a//b.png`, `/a/b.png` and `a/b.png` are different objects,
    although their results have the same path.
    """

    files: Any  # fsspec.AbstractFileSystem, which is untyped
    root: str  # bucket and prefix, as fsspec names them
    shown: str
    scheme: str

    @property
    def place(self) -> PurePosixPath:
        return PurePosixPath(f"{self.scheme}:", self.root.strip("/"))

    def path(self, name: str) -> Path:
        return Path(name)

    def list_into(self, listing: Listing) -> None:
        hidden = ""
        for page in self._pages():
            visible = []
            for name in page:
                inside = _hidden_part(name)
                if inside is None:
                    visible.append(name)
                elif inside != hidden:  # objects of a hidden folder are consecutive
                    listing.ignore(inside, "hidden")
                    hidden = inside
            self._sort_in([name for name in visible if listing.holds(name)], listing)

    def _sort_in(self, names: list[str], listing: Listing) -> None:
        """Add names to the listing. The heads of objects without a known suffix are read, a page at a time."""
        unknown = [name for name in names if not named_image(name)]
        paths = [self._key(name) for name in unknown]
        heads = self.files.cat_ranges(paths, 0, SIGNATURE_LENGTH, on_error="return") if paths else []
        xrays = {name for name, head in zip(unknown, heads, strict=True) if isinstance(head, bytes) and is_xray(head)}
        for name in names:
            listing.file(name, partial(xrays.__contains__, name))

    def _pages(self) -> Iterator[list[str]]:
        """Yield names in pages of the store, or by folder if it has no pages."""
        pages = self._s3_pages() if hasattr(self.files, "call_s3") else self._keys() if self.flat else self._folders()
        while True:
            page = _tried(lambda: next(pages, None), UsageError, self.shown, "cannot be listed", f"; {CHECK}")
            if page is None:
                return
            # the name is everything after the first slash, further slashes included
            start = f"{self.root}/"
            yield [key[len(start) :] for key in page if key.startswith(start) and not key.endswith("/")]

    def _s3_pages(self) -> Iterator[list[str]]:
        bucket, slash, prefix = self.root.partition("/")
        where = {"Bucket": bucket, "Prefix": f"{prefix}/" if slash else "", "MaxKeys": PAGE}
        while True:
            page = self.files.call_s3("list_objects_v2", **where)
            yield [f"{bucket}/{content['Key']}" for content in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return
            where["ContinuationToken"] = page["NextContinuationToken"]

    @property
    def flat(self) -> bool:
        """Whether `find` returns all keys under a prefix unchanged. A walk would miss keys with empty parts."""
        return self.scheme in FLAT

    def _keys(self) -> Iterator[list[str]]:
        keys = self.files.find(self.root)
        for at in range(0, len(keys), PAGE):
            yield keys[at : at + PAGE]

    def _folders(self) -> Iterator[list[str]]:
        for _, folders, files in self.files.walk(self.root, detail=True, on_error="raise"):
            for name in sorted(folders):  # the walk follows this order
                folders[name] = folders.pop(name)
            yield sorted(info["name"] for info in files.values())

    def read(self, name: str, most: int) -> bytes:
        content = self._read(name, lambda: self._content(name, most + 1))
        if len(content) > most:
            raise ImageError(f"{name}: over {most / 1e6:.0f} MB is too large for one image; see --max-pixels")
        if not content:
            raise ImageError(f"{name}: the file is empty")
        return content

    def has(self, name: str) -> bool:
        return bool(self._read(name, lambda: self.files.isfile(self._key(name))))

    def find(self, name: str) -> bytes | None:
        """Return an object's content, None if it does not exist. Raises ImageError if the store fails."""

        def found() -> bytes | None:
            try:
                return self._content(name)
            except FileNotFoundError:
                return None

        return self._read(name, found)

    def put(self, name: str, content: bytes) -> None:
        """Write an object. Raises OutputLostError if the store fails, after its own retries."""
        shown = f"{self.shown}/{name}"
        _tried(lambda: self.files.pipe_file(self._key(name), content), OutputLostError, shown, "cannot be written")

    def output(self, made_by: bytes, shard: Shard | None) -> BucketOutput:
        return BucketOutput(self, made_by)

    def worker_output(self, made_by: bytes, shard: Shard | None, run: str) -> BucketOutput:
        return BucketOutput(self, made_by, run)

    def _content(self, name: str, end: int | None = None) -> bytes:
        """Return the bytes up to `end` in a single request, so that they come from one version of the object.

        Without a range, s3fs would first request the size and, if the object is missing, list a folder of that name.
        """
        key = self._key(name)
        try:
            return bytes(self.files.cat_file(key, start=0, end=end))
        except FileNotFoundError:
            raise
        except Exception:  # an empty object has no valid range
            if self.files.info(key)["size"]:
                raise
            return b""

    def _key(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _read(self, name: str, ask: Callable[[], T]) -> T:
        return _tried(ask, ImageError, name, "cannot be read")


class BucketOutput:
    """An `Output` in a bucket. Only the records of results in progress are in memory.

    run: name of the run if this is for one of its workers. Records then name the run: if a worker dies before it
    reports an image, another gets it again and must recognise the result.
    """

    def __init__(self, bucket: Bucket, made_by: bytes, run: str | None = None) -> None:
        self._bucket = bucket
        self._made_by = made_by
        self._run = run
        self._known: dict[str, list[Entry]] = {}
        self._claims = Claims()

    def __enter__(self) -> BucketOutput:
        if self._run is not None:
            return self
        try:
            self._bucket.put(MARK, json.dumps({"results of": "cxr-infer"}).encode())
        except ImageError as error:
            raise UsageError(f"{error}; {CHECK}, or give another --out") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._claims.close()

    def shown(self, target: Path) -> str:
        return f"{self._bucket.shown}/{target.as_posix()}"

    def landing(self, target: Path) -> PurePosixPath:
        return self._bucket.place / target.parent.as_posix()

    def claim(self, name: str, target: Path) -> None:
        """Claim a result. Workers skip this: only the run knows all names."""
        other = self._claims.claim(target.as_posix(), name) if self._run is None else name
        if other != name:
            raise ImageError(f"{name}: its result would replace that of {other}; rename one of them")

    def check(self, target: Path) -> None:
        """Do nothing: buckets have no links."""

    def state(self, name: str, target: Path) -> State:
        content = self._bucket.find(target.as_posix())
        if content is None:
            self._known[name] = []
            return State.ABSENT
        result = digest(content)
        record = self._bucket.find(_record_of(name)) or b""
        recorded = _entries(name, record)
        self._known[name] = [entry for entry in recorded if entry.result == result]
        if not self._known[name]:
            remains = Remains.of(io.BytesIO(content))
            return State.DAMAGED if any(entry.leaves(remains) for entry in recorded) else State.FOREIGN
        if self._run is not None and record.endswith(_run_line(self._run)):
            return State.OUTDATED
        return State.FINISHED if self._known[name][0].made_by == self._made_by else State.OUTDATED

    def made_of(self, name: str, source: bytes) -> bool:
        made = any(entry.source == source for entry in self._known.get(name, ()))
        if made:
            del self._known[name]
        return made

    def read(self, target: Path, most: int) -> bytes:
        return self._bucket.read(target.as_posix(), most)

    def write(self, name: str, target: Path, source: bytes, content: bytes) -> None:
        """Write record, then result. The record keeps the old entry until the new result has replaced the old one."""
        before = self._known.pop(name, None)
        new = Entry.of(source, self._made_by, content)
        if before is None:  # `state` was not called
            before = _entries(name, self._bucket.find(_record_of(name)) or b"")
        lines = [entry.line(name) for entry in (*before[-1:], new)]
        self._bucket.put(_record_of(name), b"".join(lines) + _run_line(self._run))
        self._bucket.put(target.as_posix(), content)

    def known(self, name: str) -> list[Entry]:
        """Return nothing: every process reads the records from the bucket."""
        return []

    def learn(self, name: str, entries: list[Entry]) -> None: ...

    def take_in(self, run: str) -> None: ...


def _entries(name: str, record: bytes) -> list[Entry]:
    return [found[1] for line in record.splitlines() if (found := parse_line(line)) and found[0] == name]


def _run_line(run: str | None) -> bytes:
    """Return the last line of a record object that a worker wrote."""
    return b"" if run is None else json.dumps({"run": run}).encode() + b"\n"


def _record_of(name: str) -> str:
    """Return the name of a result's record object."""
    return f"{RECORDS_FOLDER}/results/{digest(name.encode('utf-8', 'surrogatepass')).hex()}.jsonl"


def _hidden_part(name: str) -> str | None:
    """Return the hidden file or the outermost hidden folder of a path, if any."""
    parts = name.split("/")
    return next(("/".join(parts[: at + 1]) for at, part in enumerate(parts) if part.startswith(".")), None)


def _tried(ask: Callable[[], T], kind: type[CxrError], shown: str, problem: str, way_out: str = "") -> T:
    """Call `ask`, and turn any exception into `kind` without the credentials that it may contain."""
    try:
        return ask()
    except ImportError:
        raise
    except Exception as error:  # the libraries below fsspec raise dozens of unrelated types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise kind(f"{shown}: {problem}: {without_secrets(reason).rstrip('.')}{way_out}") from None
