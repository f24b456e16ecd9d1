"""Images -> a stream of results, one bad file never ending the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from cxr_infer.denoiser import Model
from cxr_infer.errors import CxrError, ImageError
from cxr_infer.image_io import READABLE_SUFFIXES, output_name, read_gray, write_image
from cxr_infer.intensity import Pixels, from_unit, to_unit
from cxr_infer.metrics import mse, psnr_of_mse, ssim
from cxr_infer.mottle import Mottle, estimate_mottle
from cxr_infer.plan import Job, Plan
from cxr_infer.settings import Settings
from cxr_infer.stages import in_stages

LOW_16_BIT = 1 << 12  # 16-bit files whose values all lie below it usually hold 12-bit data, which is worth a note

DONE, FAILED, SKIPPED = "done", "failed", "skipped"

T = TypeVar("T")


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
    milliseconds: float | None = None  # reading, denoising and writing, waiting left out
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
    seconds: float = 0.0  # from the summary's making to the last result; files are read and written side by side
    sums: dict[str, list[float]] = field(default_factory=dict)  # figure -> [sum, count]
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: FileResult) -> None:
        setattr(self, result.status, getattr(self, result.status) + 1)
        self.seconds = time.perf_counter() - self.started
        if result.width is not None and result.height is not None:
            self.megapixels += result.width * result.height / 1e6
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


def denoise_files(
    plan: Plan,
    model: Model,
    settings: Settings | None = None,
    *,
    reference: Path | None = None,
    overwrite: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[FileResult]:
    """Denoise what was planned and yield each result, in order. Reading, denoising and writing overlap.

    A bad file is a result with status `failed`, never an exception. reference: directory of clean images under the same
    names. overwrite: replace results that exist. stopped: asked before each image; once true, what was denoised is
    written and yielded, and nothing more is begun. Raises UsageError where the settings do not fit the model.
    """
    settings = settings or Settings()
    model.check(settings)  # an impossible setting is the user's mistake, not every file's
    for name, reason in plan.unlisted:
        yield FileResult(name, FAILED, f"{name}: the directory cannot be listed: {reason}")
    originals = plan.source.resolve()

    def read(job: Job) -> _Read | FileResult:
        return _guarded(job, lambda: _refusal(job, originals, overwrite) or _read(job))

    def compute(item: _Read | FileResult) -> _Denoised | FileResult:
        return item if isinstance(item, FileResult) else _guarded(item.job, lambda: _denoise(item, model, settings))

    def write(item: _Denoised | FileResult) -> FileResult:
        return item if isinstance(item, FileResult) else _guarded(item.job, lambda: _finish(item, reference))

    yield from in_stages(plan.jobs(), read, compute, write, stopped=stopped)


def denoise_file(job: Job, model: Model, settings: Settings, reference: Path | None = None) -> FileResult:
    """Read, denoise and write one image, then measure it. Raises ImageError or ModelError."""
    return _finish(_denoise(_read(job), model, settings), reference)


def _guarded(job: Job, stage: Callable[[], T]) -> T | FileResult:
    """What a stage gives, or the failed result that its exception is."""
    try:
        return stage()
    except CxrError as error:
        return FileResult(job.name, FAILED, str(error))
    except (OSError, cv2.error) as error:
        return FileResult(job.name, FAILED, f"{job.source}: {error}")
    except MemoryError:
        return FileResult(job.name, FAILED, f"{job.source}: too large for this machine's memory")


def _refusal(job: Job, originals: Path, overwrite: bool) -> FileResult | None:
    """The result of a job whose result exists already. Raises ImageError where its target must not be written."""
    rival = job.source.with_suffix("")  # of a.jpg.png: a.jpg, whose result has the same name
    if output_name(rival.name) == job.target.name and rival.is_file():
        raise ImageError(f"{job.source}: {rival.name} becomes {job.target.name} as well; rename one of them")
    if job.target.exists() and not overwrite:
        reason = "the result exists; --overwrite replaces it"
        return FileResult(job.name, SKIPPED, reason, output=str(job.target))
    landing = job.target.parent.resolve()  # where the file lands is what counts, not by which name
    if landing == originals or originals in landing.parents:
        raise ImageError(f"{job.target}: leads back into the input directory; remove that link or give another --out")
    return None


@dataclass(frozen=True)
class _Read:
    """An image as it came from its file."""

    job: Job
    pixels: Pixels
    seconds: float


@dataclass(frozen=True)
class _Denoised:
    """Its result, to be written."""

    job: Job
    pixels: Pixels
    before: Mottle
    low_range: bool
    seconds: float


def _read(job: Job) -> _Read:
    started = time.perf_counter()
    pixels = read_gray(job.source)
    return _Read(job, pixels, time.perf_counter() - started)


def _denoise(item: _Read, model: Model, settings: Settings) -> _Denoised:
    started = time.perf_counter()
    before = estimate_mottle(item.pixels)
    result = from_unit(model.denoise_unit(to_unit(item.pixels), settings, before), item.pixels.dtype)
    low_range = bool(item.pixels.dtype == np.uint16 and item.pixels.max() < LOW_16_BIT)
    return _Denoised(item.job, result, before, low_range, item.seconds + time.perf_counter() - started)


def _finish(item: _Denoised, reference: Path | None) -> FileResult:
    started = time.perf_counter()
    write_image(item.job.target, item.pixels)
    seconds = item.seconds + time.perf_counter() - started
    height, width = item.pixels.shape
    figures, message = _compare(item.job.name, item.pixels, reference)
    if item.low_range:
        message = "; ".join(filter(None, (message, "uses a sixteenth of the 16-bit range or less: is it 12-bit data?")))
    return FileResult(
        item.job.name,
        DONE,
        message,
        output=str(item.job.target),
        width=width,
        height=height,
        bits=item.pixels.dtype.itemsize * 8,
        mottle_before=item.before.gray_levels,
        mottle_after=estimate_mottle(item.pixels).gray_levels,
        milliseconds=seconds * 1e3,
        megapixels_per_second=item.pixels.size / 1e6 / seconds,
        **figures,
    )


def find_reference(name: str, reference: Path) -> Path | None:
    """The reference of an image: the same path under the directory, or the same stem there with another suffix."""
    exact = reference / name
    if exact.is_file():
        return exact
    candidates = (exact.with_suffix(suffix) for suffix in sorted(READABLE_SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def _compare(name: str, result: Pixels, reference: Path | None) -> tuple[dict[str, float], str]:
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
    if clean.shape != result.shape:
        (h, w), (height, width) = clean.shape, result.shape
        return {}, f"the reference is {w}x{h}, the image {width}x{height}"
    denoised = to_unit(result)
    error_mse = mse(clean, denoised)
    return {"mse": error_mse, "psnr": psnr_of_mse(error_mse), "ssim": ssim(clean, denoised)}, ""
