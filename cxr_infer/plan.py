"""What a directory holds and where each result goes, before any image is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cxr_infer.dicom import DICOM_HEAD, is_dicom
from cxr_infer.errors import UsageError
from cxr_infer.files import not_plain
from cxr_infer.image_io import LOSSLESS_SUFFIXES, LOSSY_SUFFIXES
from cxr_infer.kinds import DICOM_SUFFIXES, READABLE_SUFFIXES, output_name
from cxr_infer.shard import Shard
from cxr_infer.spool import Spool, in_order

JSON_LINES = ".jsonl"  # a report that is written as the run goes on
DICOM_DIRECTORY = "DICOMDIR"  # the index of a DICOM medium, itself a DICOM file (PS3.10, section 8)


@dataclass(frozen=True)
class Job:
    """One image to denoise: where it is, where its result goes, its name within the directory."""

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What a directory holds, in the order in which it is worked on. Names are paths within it, with `/`.

    With a shard, its share of all that. The lists are on disk where they are long.
    """

    source: Path
    out: Path
    names: Spool[str]  # of images
    problems: Spool[tuple[str, str]]  # what looks like images but cannot be read, and why
    ignored: Spool[tuple[str, str]]  # what is no image, and why
    shard: Shard | None = None

    def jobs(self) -> Iterator[Job]:
        for name in self.names:
            relative = Path(name)
            yield Job(name, self.source / relative, self.out / relative.with_name(output_name(relative.name)))


@dataclass
class _Listing:
    """A plan in the making."""

    shard: Shard | None = None
    names: Spool[str] = field(default_factory=Spool)
    problems: Spool[tuple[str, str]] = field(default_factory=Spool)
    ignored: Spool[tuple[str, str]] = field(default_factory=Spool)
    passed_over: int = 0  # of other shards

    def holds(self, name: str) -> bool:
        """Whether that file is to be looked at."""
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


def default_output(source: Path) -> Path:
    """`IN-denoised`, beside IN."""
    resolved = source.resolve()
    return resolved.with_name(f"{resolved.name}-denoised")


def plan_directory(source: Path, out: Path, *, follow_links: bool = False, shard: Shard | None = None) -> Plan:
    """List the X-rays under a directory, whose tree the output mirrors; with a shard, its share of them.

    Links to directories are never followed, so that no loop can form; links to files only within the directory, or
    wherever they lead with `follow_links`. Raises UsageError where the directory is missing, unreadable or holds no
    image, or where the output would lie in or above the input.
    """
    if not source.is_dir():
        raise UsageError(f"{source}: not a directory; for one image use `cxr-infer file IN OUT`")
    inside, outside = source.resolve(), out.resolve()
    if outside == inside or inside in outside.parents:
        raise UsageError(f"{out}: the output must not be the input directory or inside it; give another --out")
    if outside in inside.parents:
        raise UsageError(f"{out}: the output must not contain the input directory; give another --out")
    listing = _Listing(shard)
    _list_tree(source, inside, follow_links, listing)
    if not (listing.names or listing.problems or listing.passed_over):
        kinds = ", ".join(sorted(READABLE_SUFFIXES))
        raise UsageError(f"{source}: no images found ({kinds}, or DICOM of any name); is it the right directory?")
    return Plan(source, out, listing.names, listing.problems, listing.ignored, shard)


def _list_tree(source: Path, root: Path, follow_links: bool, listing: _Listing) -> None:
    """A directory's files in order, then what its subdirectories hold, each in turn."""
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
    """The names of its files, a million of which are never in memory at once, and of its subdirectories; in order."""
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


def _enters(path: Path, name: str, listing: _Listing) -> bool:
    """Whether to look into a subdirectory."""
    if path.name.startswith("."):
        listing.ignore(name, "hidden")
        return False
    if path.is_symlink():
        listing.problem(name, "a link to a directory is not followed; denoise that directory by itself")
        return False
    if path.suffix.lower() in READABLE_SUFFIXES:
        listing.problem(name, "is a directory with the name of an image; what it holds is done by itself")
    return True


def _list_file(path: Path, name: str, root: Path, follow_links: bool, listing: _Listing) -> None:
    """Put one file where it belongs in the listing."""
    named_image = path.suffix.lower() in READABLE_SUFFIXES
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
        (listing.problems if named_image else listing.ignored).append((name, problem))
    elif path.name == DICOM_DIRECTORY:
        listing.ignored.append((name, "the index of a DICOM medium"))
    elif named_image or _holds_dicom(path):
        listing.names.append(name)
    else:
        listing.ignored.append((name, "no X-ray by its name or content"))


def _link_problem(path: Path, root: Path, follow_links: bool) -> str | None:
    """Why a link is not to be read through, if so."""
    try:
        destination = path.resolve(strict=True)
    except (OSError, RuntimeError):  # Python 3.12 and before raise RuntimeError for loops
        return "a link that leads nowhere; mend or remove it"
    if follow_links or root in destination.parents:
        return None
    return "a link that leads out of the input directory; --follow-links reads such files too"


def _holds_dicom(path: Path) -> bool:
    """Whether a plain file's content is DICOM; one that cannot be opened is none."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(DICOM_HEAD))
    except OSError:
        return False


def check_report(path: Path, source: Path) -> None:
    """Refuse a report that is no .json or .jsonl file or would lie among the originals. Raises UsageError."""
    if path.suffix.lower() not in (".json", JSON_LINES):
        raise UsageError(f"{path}: the report is JSON; give --json a name that ends in .json or .jsonl")
    if source.resolve() in path.resolve().parents:
        raise UsageError(f"{path}: lies inside the input directory; give --json another place")
    if path.is_dir():
        raise UsageError(f"{path}: is a directory; give --json the name of a file")


def single_job(source: Path, target: Path, *, overwrite: bool = False) -> Job:
    """The job of one image. Raises UsageError where the target is the source, exists or is of a lossy kind."""
    unlike = target.suffix.lower() not in LOSSLESS_SUFFIXES | DICOM_SUFFIXES and target.suffix != source.suffix
    if unlike or target.suffix.lower() in LOSSY_SUFFIXES:
        raise UsageError(f"{target}: results are written without loss; give OUT a name that ends in .png, .tif or .dcm")
    if target.resolve() == source.resolve() or (target.exists() and source.exists() and target.samefile(source)):
        raise UsageError(f"{target}: OUT must not be IN; give another name")
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists; use --overwrite or another name")
    return Job(source.name, source, target)
