"""A directory of images -> a stream of results, one bad file never ending the run."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.denoiser import Model, Settings
from cxr_infer.errors import CxrError, ImageError, UsageError
from cxr_infer.image_io import LOSSLESS_SUFFIXES, READABLE_SUFFIXES, output_name, read_gray, write_image
from cxr_infer.intensity import from_unit, to_unit
from cxr_infer.metrics import mse, psnr_of_mse, ssim
from cxr_infer.mottle import estimate_mottle

LOW_16_BIT = 1 << 12  # 16-bit files whose values all lie below it usually hold 12-bit data, which is worth a note

DONE, FAILED, SKIPPED = "done", "failed", "skipped"


@dataclass(frozen=True)
class Job:
    """One image to denoise: where it is, where its result goes, its name within the directory."""

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What a directory holds: the jobs in name order, what could not be looked into, and how much was left alone."""

    source: Path
    jobs: tuple[Job, ...]
    unlisted: tuple[tuple[str, str], ...]  # subdirectories that cannot be listed: name and reason
    left_alone: int  # files of no readable kind, and links to directories


@dataclass(frozen=True)
class FileResult:
    """What became of one image. Mottle in 8-bit gray levels; PSNR in dB; figures are None where they do not apply."""

    name: str
    status: str  # done, failed or skipped
    message: str = ""  # why it failed or was skipped, or what to know about it
    output: str | None = None
    width: int | None = None
    height: int | None = None
    bits: int | None = None
    mottle_before: float | None = None
    mottle_after: float | None = None
    mse: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    milliseconds: float | None = None  # reading, denoising and writing
    megapixels_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Summary:
    """Totals and means over the results of a run, added up as they come; memory does not grow with the files."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    megapixels: float = 0.0
    seconds: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=dict)  # figure -> [sum, count]

    def add(self, result: FileResult) -> None:
        setattr(self, result.status, getattr(self, result.status) + 1)
        if result.width is not None and result.height is not None and result.milliseconds is not None:
            self.megapixels += result.width * result.height / 1e6
            self.seconds += result.milliseconds / 1e3
        for name in ("mottle_before", "mottle_after", "mse", "psnr", "ssim"):
            value = getattr(result, name)
            if value is not None:
                total = self.sums.setdefault(name, [0.0, 0])
                total[0] += value
                total[1] += 1

    def mean(self, name: str) -> float | None:
        """Mean of a figure over the files that have it."""
        total = self.sums.get(name)
        return total[0] / total[1] if total else None

    @property
    def megapixels_per_second(self) -> float | None:
        return self.megapixels / self.seconds if self.seconds else None

    def to_dict(self) -> dict[str, Any]:
        means = {name: self.mean(name) for name in ("mottle_before", "mottle_after", "mse", "psnr", "ssim")}
        return {
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "megapixels": self.megapixels,
            "seconds": self.seconds,
            "megapixels_per_second": self.megapixels_per_second,
            "means": means,
        }


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
    jobs: list[Job] = []
    unlisted: list[tuple[str, str]] = []
    left_alone = 0
    for folder, subfolders, names in os.walk(source, onerror=lambda e: unlisted.append(_unlisted(e, source))):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        left_alone += sum((Path(folder) / name).is_symlink() for name in subfolders)
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder) / name
            relative = path.relative_to(source)
            if path.suffix.lower() in READABLE_SUFFIXES:
                jobs.append(Job(relative.as_posix(), path, out / relative.with_name(output_name(name))))
            else:
                left_alone += 1
    if not jobs:
        if unlisted and unlisted[0][0] == ".":
            raise UsageError(f"{source}: cannot be listed: {unlisted[0][1]}")
        kinds = ", ".join(sorted(READABLE_SUFFIXES))
        raise UsageError(f"{source}: no images found ({kinds}); is it the right directory?")
    return Plan(source, tuple(jobs), tuple(unlisted), left_alone)


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


def denoise_files(
    plan: Plan,
    model: Model,
    settings: Settings | None = None,
    *,
    reference: Path | None = None,
    overwrite: bool = False,
) -> Iterator[FileResult]:
    """Denoise what was planned and yield each result, in order.

    A bad file is a result with status `failed`, never an exception. reference: directory of clean images under the same
    names. overwrite: replace results that exist. Raises UsageError where the settings do not fit the model.
    """
    settings = settings or Settings()
    model.tiles(settings)  # an impossible window is the user's mistake, not every file's
    for name, reason in plan.unlisted:
        yield FileResult(name, FAILED, f"{name}: the directory cannot be listed: {reason}")
    originals = plan.source.resolve()
    taken: set[Path] = set()
    for job in plan.jobs:
        try:
            if job.target in taken:
                raise ImageError(f"{job.source}: another image already became {job.target.name}; rename one of them")
            taken.add(job.target)
            if job.target.exists() and not overwrite:
                reason = "the result exists; --overwrite replaces it"
                yield FileResult(job.name, SKIPPED, reason, output=str(job.target))
                continue
            _refuse_landing_in(originals, job)
            yield denoise_file(job, model, settings, reference)
        except CxrError as error:
            yield FileResult(job.name, FAILED, str(error))
        except (OSError, cv2.error) as error:
            yield FileResult(job.name, FAILED, f"{job.source}: {error}")
        except MemoryError:
            yield FileResult(job.name, FAILED, f"{job.source}: too large for this machine's memory")


def _refuse_landing_in(originals: Path, job: Job) -> None:
    """Raise ImageError where a link in the output leads back into the input; where the file lands is what counts."""
    landing = job.target.parent.resolve()
    if landing == originals or originals in landing.parents:
        raise ImageError(f"{job.target}: leads back into the input directory; remove that link or give another --out")


def denoise_file(job: Job, model: Model, settings: Settings, reference: Path | None = None) -> FileResult:
    """Read, denoise and write one image, then measure it. Raises ImageError."""
    started = time.perf_counter()
    pixels = read_gray(job.source)
    noisy = to_unit(pixels)
    result = from_unit(model.denoise_unit(noisy, settings), pixels.dtype)
    write_image(job.target, result)
    seconds = time.perf_counter() - started
    height, width = pixels.shape
    denoised = to_unit(result)
    figures, message = _compare(job.name, denoised, reference)
    if pixels.dtype == np.uint16 and pixels.max() < LOW_16_BIT:
        message = "; ".join(filter(None, (message, "uses a sixteenth of the 16-bit range or less: is it 12-bit data?")))
    return FileResult(
        job.name,
        DONE,
        message,
        output=str(job.target),
        width=width,
        height=height,
        bits=pixels.dtype.itemsize * 8,
        mottle_before=estimate_mottle(noisy).gray_levels,
        mottle_after=estimate_mottle(denoised).gray_levels,
        milliseconds=seconds * 1e3,
        megapixels_per_second=pixels.size / 1e6 / seconds,
        **figures,
    )


def find_reference(name: str, reference: Path) -> Path | None:
    """The reference of an image: the same path under the directory, or the same stem there with another suffix."""
    exact = reference / name
    if exact.is_file():
        return exact
    candidates = (exact.with_suffix(suffix) for suffix in sorted(READABLE_SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def _compare(name: str, denoised: NDArray[np.float32], reference: Path | None) -> tuple[dict[str, float], str]:
    """MSE, PSNR and SSIM against the reference, or none and the reason."""
    if reference is None:
        return {}, ""
    path = find_reference(name, reference)
    if path is None:
        return {}, "no reference of that name"
    try:
        clean = to_unit(read_gray(path))
    except ImageError as error:
        return {}, f"reference: {error}"
    if clean.shape != denoised.shape:
        (h, w), (height, width) = clean.shape, denoised.shape
        return {}, f"the reference is {w}x{h}, the image {width}x{height}"
    error_mse = mse(clean, denoised)
    return {"mse": error_mse, "psnr": psnr_of_mse(error_mse), "ssim": ssim(clean, denoised)}, ""
