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

DICOM_DIRECTORY = "DICOMDIR"  # the index of a DICOM medium, itself a DICOM file (PS3.10, section 8)


@dataclass(frozen=True)
class Job:
    """One image to denoise: where it is, where its result goes, its name within the directory."""

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What a directory holds, in the order in which it is worked on. Names are paths within it, with `/`."""

    source: Path
    out: Path
    names: tuple[str, ...]  # of images
    problems: tuple[tuple[str, str], ...] = ()  # what looks like images but cannot be read, and why
    ignored: tuple[tuple[str, str], ...] = ()  # what is no image, and why

    def jobs(self) -> Iterator[Job]:
        for name in self.names:
            relative = Path(name)
            yield Job(name, self.source / relative, self.out / relative.with_name(output_name(relative.name)))


@dataclass
class _Listing:
    """A plan in the making."""

    names: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)


def default_output(source: Path) -> Path:
    """`IN-denoised`, beside IN."""
    resolved = source.resolve()
    return resolved.with_name(f"{resolved.name}-denoised")


def plan_directory(source: Path, out: Path, *, follow_links: bool = False) -> Plan:
    """List the X-rays under a directory, whose tree the output mirrors.

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
    listing = _Listing()

    def within(path: Path) -> str:
        return path.relative_to(source).as_posix()

    def unlisted(error: OSError) -> None:
        folder = Path(error.filename or source)
        listing.problems.append((within(folder), f"the directory cannot be listed: {error.strerror or error}"))

    for place, subfolders, names in os.walk(source, onerror=unlisted):
        folder = Path(place)
        subfolders.sort()
        for name in list(subfolders):
            if not _enters(folder / name, within(folder / name), listing):
                subfolders.remove(name)
        for name in sorted(names):
            _list_file(folder / name, within(folder / name), inside, follow_links, listing)
    if not listing.names and not listing.problems:
        kinds = ", ".join(sorted(READABLE_SUFFIXES))
        raise UsageError(f"{source}: no images found ({kinds}, or DICOM of any name); is it the right directory?")
    if listing.problems and listing.problems[0][0] == ".":
        raise UsageError(f"{source}: {listing.problems[0][1]}")
    return Plan(source, out, tuple(listing.names), tuple(listing.problems), tuple(listing.ignored))


def _enters(path: Path, name: str, listing: _Listing) -> bool:
    """Whether to look into a subdirectory."""
    if path.name.startswith("."):
        listing.ignored.append((name, "hidden"))
        return False
    if path.is_symlink():
        listing.problems.append((name, "a link to a directory is not followed; denoise that directory by itself"))
        return False
    if path.suffix.lower() in READABLE_SUFFIXES:
        listing.problems.append((name, "is a directory with the name of an image; what it holds is done by itself"))
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
    elif named_image:
        listing.names.append(name)
    else:
        _list_by_content(path, name, listing)


def _link_problem(path: Path, root: Path, follow_links: bool) -> str | None:
    """Why a link is not to be read through, if so."""
    try:
        destination = path.resolve(strict=True)
    except (OSError, RuntimeError):  # Python 3.12 and before raise RuntimeError for loops
        return "a link that leads nowhere; mend or remove it"
    if follow_links or root in destination.parents:
        return None
    return "a link that leads out of the input directory; --follow-links reads such files too"


def _list_by_content(path: Path, name: str, listing: _Listing) -> None:
    """Put a plain file whose name says nothing where it belongs; on media, DICOM files have no suffix."""
    try:
        with path.open("rb") as file:
            holds_dicom = is_dicom(file.read(DICOM_HEAD))
    except OSError as error:
        listing.problems.append((name, f"cannot be read, be it an X-ray or not: {error.strerror or error}"))
        return
    if holds_dicom:
        listing.names.append(name)
    else:
        listing.ignored.append((name, "no X-ray by its name or content"))


def check_report(path: Path, source: Path, option: str, suffix: str) -> None:
    """Refuse a report that lacks its suffix or would lie among the originals. option: that named it, for messages.

    Raises UsageError.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(f"{path}: the report is {suffix[1:].upper()}; give {option} a name that ends in {suffix}")
    if source.resolve() in path.resolve().parents:
        raise UsageError(f"{path}: lies inside the input directory; give {option} another place")
    if path.is_dir():
        raise UsageError(f"{path}: is a directory; give {option} the name of a file")


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
