"""A directory as source of X-rays or place for results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import open_plain, read_content, require_directory
from cxr_infer.folder import not_plain
from cxr_infer.formats.registry import SIGNATURE_LENGTH, is_xray
from cxr_infer.scratch import in_order
from cxr_infer.storage.directory_output import OutputDirectory
from cxr_infer.storage.listing import Listing, named_image
from cxr_infer.storage.shard import Shard
from cxr_infer.storage.worker_output import WorkerOutput


@dataclass(frozen=True)
class Directory:
    """A `Storage` in a local directory.

    Links to directories are never followed, so that there are no loops. Links to files are followed if the files are
    inside the directory, or always with `follow_links`.
    """

    root: Path
    follow_links: bool = False

    @property
    def shown(self) -> str:
        return str(self.root)

    @property
    def place(self) -> Path:
        return self.root.resolve()

    def path(self, name: str) -> Path:
        return self.root / name

    def list_into(self, listing: Listing) -> None:
        require_directory(self.root, "for one image use `cxr-infer file`")
        _list_tree(self.root, self.place, self.follow_links, listing)

    def read(self, name: str, most: int) -> bytes:
        return read_content(self.root / name, most)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def output(self, made_by: bytes, shard: Shard | None) -> OutputDirectory:
        return OutputDirectory(self.root, made_by, shard)

    def worker_output(self, made_by: bytes, shard: Shard | None, run: str) -> WorkerOutput:
        return WorkerOutput(self.root, made_by, shard, run)


def _list_tree(source: Path, root: Path, follow_links: bool, listing: Listing) -> None:
    """List the files of a directory in order, then its subdirectories recursively."""
    waiting = [source]
    while waiting:
        folder = waiting.pop()
        try:
            files, subfolders = _contents(folder)
        except OSError as error:
            reason = f"the directory cannot be listed: {error.strerror or error}"
            if folder == source:
                raise UsageError(f"{source}: {reason}") from error
            listing.problem(folder.relative_to(source).as_posix(), reason)
            continue

        def within(name: str, folder: Path = folder) -> str:
            return (folder / name).relative_to(source).as_posix()

        entered = [folder / name for name in subfolders if _enters(folder / name, within(name), listing)]
        waiting.extend(reversed(entered))
        for name in files:
            if listing.holds(within(name)):
                _list_file(folder / name, within(name), root, follow_links, listing)


def _contents(folder: Path) -> tuple[Iterator[str], list[str]]:
    """Return the sorted names of files, as an iterator that spills to disk, and of subdirectories."""
    subfolders: list[str] = []

    def files() -> Iterator[str]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_directory(entry):
                    subfolders.append(entry.name)
                else:
                    yield entry.name

    ordered = in_order(files())
    return ordered, sorted(subfolders)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _enters(path: Path, name: str, listing: Listing) -> bool:
    """Whether to enter a subdirectory; if not, list it as ignored or a problem."""
    if path.name.startswith("."):
        listing.ignore(name, "hidden")
        return False
    if path.is_symlink():
        listing.problem(name, "links to directories are not followed; denoise that directory separately")
        return False
    if named_image(name):
        listing.problem(name, "is a directory named like an image; files in it are denoised separately")
    return True


def _list_file(path: Path, name: str, root: Path, follow_links: bool, listing: Listing) -> None:
    """Add a file to the list that it belongs to."""
    if path.name.startswith("."):
        listing.ignored.append((name, "hidden"))
        return
    problem = _link_problem(path, root, follow_links) if path.is_symlink() else None
    if problem is None:
        try:
            kind = not_plain(path.stat().st_mode)
            problem = kind and f"is {kind}, not a file; move it elsewhere"
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
    if problem is not None:
        (listing.problems if named_image(name) else listing.ignored).append((name, problem))
    else:
        try:
            listing.file(name, lambda: _holds_xray(path))
        except (OSError, ImageError) as error:
            reason = getattr(error, "strerror", None) or error
            listing.problems.append((name, f"cannot be read to check whether it is an X-ray: {reason}"))


def _link_problem(path: Path, root: Path, follow_links: bool) -> str | None:
    """Say why a link is not followed; None if it is."""
    try:
        destination = path.resolve(strict=True)
    except (OSError, RuntimeError):  # Python 3.12 and before raise RuntimeError for loops
        return "a broken link; fix or remove it"
    if follow_links or root in destination.parents:
        return None
    return "a link to a file outside the input directory; --follow-links reads such files"


def _holds_xray(path: Path) -> bool:
    """Whether a plain file is an X-ray by content, as names on DICOM media have no suffix. Raises OSError."""
    with open_plain(path) as file:
        return is_xray(file.read(SIGNATURE_LENGTH))
