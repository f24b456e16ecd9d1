"""Plan a run: the images of a directory and where each result goes, before any image is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import open_plain, require_image_file
from cxr_infer.folder import is_link, not_plain
from cxr_infer.formats.registry import (
    READABLE_SUFFIXES,
    SIGNATURE_LENGTH,
    can_be_result,
    is_lossy,
    keeps_name,
    output_name,
    result_name,
)
from cxr_infer.scratch import DiskList
from cxr_infer.storage.listing import Listing
from cxr_infer.storage.protocols import Storage
from cxr_infer.storage.shard import Shard

DENOISE_IT = "`cxr-infer dir` denoises directories"


@dataclass(frozen=True)
class Job:
    """One image to denoise: its name within IN, where it is, where its result goes; in a bucket, within that."""

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What IN holds, in the order in which it is worked on. Names are paths within it, with `/`.

    With a shard, its share of all that. The lists are on disk where they are long.
    """

    source: Storage
    out: Storage
    names: DiskList[str]  # of images
    problems: DiskList[tuple[str, str]]  # what looks like images but cannot be read, and why
    ignored: DiskList[tuple[str, str]]  # what is no image, and why
    shard: Shard | None = None

    def jobs(self) -> Iterator[Job]:
        return (job_of(name, self.source, self.out) for name in self.names)


def job_of(name: str, source: Storage, out: Storage) -> Job:
    """Return the job of an image, by its name within IN."""
    return Job(name, source.path(name), out.path(result_name(name)))


def by_content(job: Job, content: bytes) -> Job:
    """Correct a job by the image's content: DICOM stays DICOM and keeps its name, even one that ends in .jpg."""
    return replace(job, target=job.target.with_name(job.source.name)) if keeps_name(content[:SIGNATURE_LENGTH]) else job


def make_plan(source: Storage, out: Storage, *, shard: Shard | None = None) -> Plan:
    """List the X-rays under IN, whose tree the output mirrors; with a shard, its share of them.

    Raises UsageError where IN is missing, unreadable or holds no image, or where the output would lie in or above it.
    """
    _require_apart(source, out)
    listing = Listing(shard)
    source.list_into(listing)
    if not (listing.names or listing.problems or listing.passed_over):
        kinds = ", ".join(sorted(READABLE_SUFFIXES))
        raise UsageError(f"{source.shown}: no images found ({kinds}, or files with such content); check the path")
    return Plan(source, out, listing.names, listing.problems, listing.ignored, shard)


def make_plan_to_watch(source: Storage, out: Storage, *, shard: Shard | None = None) -> Plan:
    """Return an empty plan. Raises UsageError if the output would be in or above IN."""
    _require_apart(source, out)
    return Plan(source, out, DiskList(), DiskList(), DiskList(), shard)


def _require_apart(source: Storage, out: Storage) -> None:
    inside, outside = source.place, out.place
    if outside == inside or inside in outside.parents:
        raise UsageError(f"{out.shown}: the output must not be the input directory or inside it; give another --out")
    if outside in inside.parents:
        raise UsageError(f"{out.shown}: the output must not contain the input directory; give another --out")


def single_job(source: Path, target: Path, *, overwrite: bool = False) -> Job:
    """Return the job of one image.

    Raises UsageError where the source is a directory, or the target is the source, exists or is of a lossy kind.
    """
    require_image_file(source, DENOISE_IT)
    require_lossless(target, source)
    return _free_job(source, target, overwrite)


def require_lossless(target: Path, source: Path) -> None:
    """Raise UsageError unless a result can be written losslessly under this name."""
    unlike = not can_be_result(target.suffix) and target.suffix != source.suffix
    if unlike or is_lossy(target.suffix):
        raise UsageError(f"{target}: results are written without loss; give OUT a name that ends in .png, .tif or .dcm")


def jobs_of_files(sources: Sequence[Path], folder: Path | None, *, overwrite: bool = False) -> list[Job]:
    """Return the jobs of images for which no names of results were given.

    folder: where they go under the names that `dir` would give them; None puts them beside their sources, as
    NAME-denoised. Raises UsageError where a source is a directory, or a target a source, of two of them, or exists.
    """
    jobs: dict[Path, Job] = {}
    for source in sources:
        require_image_file(source, DENOISE_IT)
        target = source.with_name(denoised_name(source)) if folder is None else folder / _name_of_result(source)
        if target in jobs:
            raise UsageError(f"{source}: its result would replace that of {jobs[target].source}; rename one of them")
        jobs[target] = _free_job(source, target, overwrite)
    return list(jobs.values())


def denoised_name(source: Path) -> str:
    """Return NAME-denoised.SUFFIX, with the suffix of a lossless format."""
    suffix = source.suffix if source.suffix.lower() in READABLE_SUFFIXES else ""
    stem = source.name.removesuffix(suffix)
    name = f"{stem}-denoised{suffix}"
    return name if _keeps_name(source) else output_name(name)


def _name_of_result(source: Path) -> str:
    return source.name if _keeps_name(source) else output_name(source.name)


def _keeps_name(path: Path) -> bool:
    try:
        with open_plain(path) as file:
            return keeps_name(file.read(SIGNATURE_LENGTH))
    except (OSError, ImageError):  # told when it is read
        return False


def _free_job(source: Path, target: Path, overwrite: bool) -> Job:
    require_other(target, "OUT", IN=source)
    require_free(target, overwrite, "another name")
    return Job(source.name, source, target)


def require_other(target: Path, what: str, **originals: Path) -> None:
    """Raise UsageError if a file to be written is one of those that are read, under any name."""
    for role, original in originals.items():
        same = target.exists() and original.exists() and target.samefile(original)
        if same or target.resolve() == original.resolve():
            raise UsageError(f"{target}: {what} must not be {role}; give another name")


def require_free(target: Path, overwrite: bool, other: str) -> None:
    """Raise UsageError if something that must not be replaced is in the place of a file to be written.

    Links are looked at as themselves, and replaced as such. other: what to give instead, for messages.
    """
    if in_place_of(target, f"give {other}") is not None and not overwrite:
        raise UsageError(f"{target}: exists; use --overwrite or {other}")


def in_place_of(target: Path, other: str) -> os.stat_result | None:
    """Return the stat of what is in the place of a file to be written, links not followed; None if nothing is.

    Raises UsageError if that is neither a file nor a link. other: what to do instead, for the message.
    """
    try:
        found = target.lstat()
    except OSError:
        return None
    kind = None if is_link(found) else not_plain(found.st_mode)
    if kind is not None:
        raise UsageError(f"{target}: is {kind}; {other}")
    return found
