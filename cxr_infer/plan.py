"""What a directory holds and where each result goes, before anything is read or written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxr_infer.errors import UsageError
from cxr_infer.image_io import LOSSLESS_SUFFIXES, READABLE_SUFFIXES, output_name


@dataclass(frozen=True)
class Job:
    """One image to denoise: where it is, where its result goes, its name within the directory."""

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What a directory holds: its images in name order, what could not be looked into, how much was left alone."""

    source: Path
    out: Path
    names: tuple[str, ...]  # paths within the directory, with `/`
    unlisted: tuple[tuple[str, str], ...]  # subdirectories that cannot be listed: name and reason
    left_alone: int  # files of no readable kind, and links to directories

    def jobs(self) -> Iterator[Job]:
        for name in self.names:
            relative = Path(name)
            yield Job(name, self.source / relative, self.out / relative.with_name(output_name(relative.name)))


def default_output(source: Path) -> Path:
    """`IN-denoised`, beside IN."""
    resolved = source.resolve()
    return resolved.with_name(f"{resolved.name}-denoised")


def plan_directory(source: Path, out: Path) -> Plan:
    """List the images under a directory, whose tree the output mirrors. Hidden files are not looked at.

    Links to directories are not followed, so that no loop can form. Raises UsageError where the directory is missing,
    unreadable or holds no image, or where the output would lie in or above the input.
    """
    if not source.is_dir():
        raise UsageError(f"{source}: not a directory; for one image use `cxr-infer file IN OUT`")
    inside, outside = source.resolve(), out.resolve()
    if outside == inside or inside in outside.parents:
        raise UsageError(f"{out}: the output must not be the input directory or inside it; give another --out")
    if outside in inside.parents:
        raise UsageError(f"{out}: the output must not contain the input directory; give another --out")
    images: list[str] = []
    unlisted: list[tuple[str, str]] = []
    left_alone = 0
    for folder, subfolders, names in os.walk(source, onerror=lambda e: unlisted.append(_unlisted(e, source))):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        left_alone += sum((Path(folder) / name).is_symlink() for name in subfolders)
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder) / name
            if path.suffix.lower() in READABLE_SUFFIXES:
                images.append(path.relative_to(source).as_posix())
            else:
                left_alone += 1
    if not images:
        if unlisted and unlisted[0][0] == ".":
            raise UsageError(f"{source}: cannot be listed: {unlisted[0][1]}")
        kinds = ", ".join(sorted(READABLE_SUFFIXES))
        raise UsageError(f"{source}: no images found ({kinds}); is it the right directory?")
    return Plan(source, out, tuple(images), tuple(unlisted), left_alone)


def _unlisted(error: OSError, source: Path) -> tuple[str, str]:
    folder = Path(error.filename or source)
    return folder.relative_to(source).as_posix(), error.strerror or str(error)


def check_report(path: Path, source: Path) -> None:
    """Refuse a report that is no .json file or would lie among the originals. Raises UsageError."""
    if path.suffix.lower() != ".json":
        raise UsageError(f"{path}: the report is JSON; give --json a name that ends in .json")
    if source.resolve() in path.resolve().parents:
        raise UsageError(f"{path}: lies inside the input directory; give --json another place")
    if path.is_dir():
        raise UsageError(f"{path}: is a directory; give --json the name of a file")


def prepare_output(out: Path) -> None:
    """Make the output directory and try to write there, before hours of work. Raises UsageError where that fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"{out}: cannot be written to: {error.strerror or error}; give another --out") from error


def single_job(source: Path, target: Path, *, overwrite: bool = False) -> Job:
    """The job of one image. Raises UsageError where the target is the source, exists or is of a lossy kind."""
    if target.suffix.lower() not in LOSSLESS_SUFFIXES:
        raise UsageError(f"{target}: results are written without loss; give OUT a name that ends in .png or .tif")
    if target.resolve() == source.resolve() or (target.exists() and source.exists() and target.samefile(source)):
        raise UsageError(f"{target}: OUT must not be IN; give another name")
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists; use --overwrite or another name")
    return Job(source.name, source, target)
