"""Plan a run: the images to denoise and the paths of their results, before any image is read."""

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
    """An image to denoise: name below IN, path of the original, path of the result; in a bucket, below its prefix."""

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """The files of IN in processing order, with a shard only its share. Names are paths below IN, with `/`.

    Long lists spill to disk.
    """

    source: Storage
    out: Storage
    names: DiskList[str]  # of images
    problems: DiskList[tuple[str, str]]  # names of unreadable files named like images, and reasons
    ignored: DiskList[tuple[str, str]]  # names of other files, and reasons
    shard: Shard | None = None

    def jobs(self) -> Iterator[Job]:
        return (job_of(name, self.source, self.out) for name in self.names)


def job_of(name: str, source: Storage, out: Storage) -> Job:
    """Return the job of an image. name: path below IN."""
    return Job(name, source.path(name), out.path(result_name(name)))


def by_content(job: Job, content: bytes) -> Job:
    """Correct the target by the image's content: DICOM keeps its name, even one that ends in .jpg."""
    return replace(job, target=job.target.with_name(job.source.name)) if keeps_name(content[:SIGNATURE_LENGTH]) else job


def make_plan(source: Storage, out: Storage, *, shard: Shard | None = None) -> Plan:
    """List the X-rays under IN; with a shard, its share of them.

    Raises UsageError if IN is missing, unreadable or has no image, or if the output would be inside or above it.
    """
    _require_apart(source, out)
    listing = Listing(shard)
    source.list_into(listing)
    if not (listing.names or listing.problems or listing.passed_over):
        kinds = ", ".join(sorted(READABLE_SUFFIXES))
        raise UsageError(f"{source.shown}: no images found ({kinds}, or files with such content); check the path")
    return Plan(source, out, listing.names, listing.problems, listing.ignored, shard)


def make_plan_to_watch(source: Storage, out: Storage, *, shard: Shard | None = None) -> Plan:
    """Return an empty plan. Raises UsageError if the output would be inside or above IN."""
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

    Raises UsageError if the source is a directory, or the target is the source, exists or has a lossy format.
    """
    require_image_file(source, DENOISE_IT)
    require_lossless(target, source)
    return _free_job(source, target, overwrite)


def require_lossless(target: Path, source: Path) -> None:
    """Raise UsageError unless the target's suffix is that of a lossless format."""
    unlike = not can_be_result(target.suffix) and target.suffix != source.suffix
    if unlike or is_lossy(target.suffix):
        raise UsageError(f"{target}: results are written without loss; give OUT a name that ends in .png, .tif or .dcm")


def jobs_of_files(sources: Sequence[Path], folder: Path | None, *, overwrite: bool = False) -> list[Job]:
    """Return the jobs of images without given target names.

    folder: directory of the results, named as by `dir`. None: next to their sources, as NAME-denoised. Raises
    UsageError if a source is a directory, or a target is a source, exists or belongs to two sources.
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
    except (OSError, ImageError):  # reported when it is read
        return False


def _free_job(source: Path, target: Path, overwrite: bool) -> Job:
    require_other(target, "OUT", IN=source)
    require_free(target, overwrite, "another name")
    return Job(source.name, source, target)


def require_other(target: Path, what: str, **originals: Path) -> None:
    """Raise UsageError if a file to be written is the same as one to be read.

    what: its role in messages. originals: files by their roles.
    """
    for role, original in originals.items():
        same = target.exists() and original.exists() and target.samefile(original)
        if same or target.resolve() == original.resolve():
            raise UsageError(f"{target}: {what} must not be {role}; give another name")


def require_free(target: Path, overwrite: bool, other: str) -> None:
    """Raise UsageError if the target exists and must not be replaced. Links are not followed, but replaced themselves.

    other: alternative for the message.
    """
    if in_place_of(target, f"give {other}") is not None and not overwrite:
        raise UsageError(f"{target}: exists; use --overwrite or {other}")


def in_place_of(target: Path, other: str) -> os.stat_result | None:
    """Return the stat of an existing target without following links; None if it does not exist.

    other: advice for the message. Raises UsageError if it is neither a file nor a link.
    """
    try:
        found = target.lstat()
    except OSError:
        return None
    kind = None if is_link(found) else not_plain(found.st_mode)
    if kind is not None:
        raise UsageError(f"{target}: is {kind}; {other}")
    return found
