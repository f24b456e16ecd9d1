"""Images -> a stream of results, one bad file never ending the run."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias, TypeVar

import cv2

from cxr_infer.batch.jobs import Job, Plan, by_content
from cxr_infer.batch.overlap import overlapped
from cxr_infer.batch.references import Comparison, compare_with_reference
from cxr_infer.errors import AlreadyDenoised, CxrError, ImageError, NoRadiograph, OutputLostError
from cxr_infer.faults import Traceback, fault_line, traceback_of
from cxr_infer.files import read_content, write_bytes
from cxr_infer.formats.radiograph import METHOD, Provenance, Radiograph
from cxr_infer.formats.readers import most_bytes, read_radiograph
from cxr_infer.formats.registry import output_name
from cxr_infer.imaging.mottle import Mottle, estimate_mottle
from cxr_infer.model.address_space import lacks_memory
from cxr_infer.model.denoiser import Model
from cxr_infer.report.noise_words import NOTES, noise_figures
from cxr_infer.report.results import (
    CUT_SHORT,
    DONE,
    FAILED,
    FINISHED,
    IGNORED,
    IN_THE_WAY,
    PENDING,
    SKIPPED,
    FileResult,
)
from cxr_infer.report.views import Pairs, View, paired, view
from cxr_infer.settings import ReadOptions, Settings
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.protocols import Output, State, Storage
from cxr_infer.version import __version__

TOO_LARGE = "too large for this machine's memory"
LOG = logging.getLogger(__name__)

T = TypeVar("T")
Show: TypeAlias = Callable[[FileResult, Pairs], None]
Engine: TypeAlias = "Callable[[Plan, BatchRun, Output, Callable[[], bool]], Iterator[FileResult]]"


def denoise_files(
    plan: Plan,
    model: Model,
    settings: Settings | None = None,
    reading: ReadOptions | None = None,
    *,
    reference: Path | None = None,
    overwrite: bool = False,
    show: Show | None = None,
    stopped: Callable[[], bool] = lambda: False,
    engine: Engine | None = None,
) -> Iterator[FileResult]:
    """Denoise what was planned and yield what became of every file, images in order. The steps overlap.

    A bad file is a result with status `failed`, never an exception; one that was finished in an earlier run by the same
    model and settings from the same content is skipped. reading: how files are read, references too. reference:
    directory of clean images under the same names. overwrite: do all again and replace whatever exists. show: called
    with every image that was denoised and what a display shows of it, before its result is yielded; only in this
    process, which other engines are not. stopped: asked before each image; once true, or once the output directory can
    hold no more, what was denoised is written and yielded, and the rest are `pending`. engine: what does the work;
    other engines than the default yield as they finish. Raises UsageError where the settings do not fit the model or
    the output directory cannot be used.
    """
    run = BatchRun(model, settings or Settings(), reading or ReadOptions(), reference, overwrite, show is not None)
    model.check(run.settings)  # an impossible setting is the user's mistake, not every file's
    LOG.info("%s images in %s, results in %s", len(plan.names), plan.source.shown, plan.out.shown)
    LOG.info("model %s, SHA-256 %s, %s, %s", model.title, model.sha256, run.settings, run.reading)
    with plan.out.output(run.made_by, plan.shard) as output:
        unread = chain(
            (FileResult(name, FAILED, f"{name}: {reason}") for name, reason in plan.problems),
            (FileResult(name, IGNORED, reason) for name, reason in plan.ignored),
        )
        for result in chain(unread, (engine or partial(in_this_process, show=show))(plan, run, output, stopped)):
            _log(result)
            yield result


def in_this_process(
    plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], show: Show | None = None
) -> Iterator[FileResult]:
    """The engine of one machine: one image after the other, which the network computes with all threads."""
    begun = 0
    for result in denoise_jobs(plan.jobs(), run, plan.source, output, stopped, show):
        begun += 1
        yield result
    yield from map(not_begun, islice(plan.names, begun, None))


def denoise_jobs(
    jobs: Iterable[Job],
    run: BatchRun,
    source: Storage,
    output: Output,
    stopped: Callable[[], bool] = lambda: False,
    show: Show | None = None,
) -> Iterator[FileResult]:
    """What becomes of each image, in order: the one function that every engine calls, wherever it runs.

    Ends early after `stopped`, or once the output can hold no more.
    """
    steps = _Steps(run, source, output)
    results = overlapped(jobs, steps.read, steps.compute, steps.write, stopped=lambda: stopped() or steps.output_lost)
    for result, shown in results:
        if show is not None and shown is not None:
            show(result, shown)
        yield result


def _log(result: FileResult) -> None:
    level = logging.WARNING if result.status == FAILED else logging.DEBUG
    LOG.log(level, "%s: %s: %s", result.name, result.status, result.message or f"in {result.milliseconds or 0:.0f} ms")
    if result.traceback is not None:
        LOG.error("%s: %s", result.name, Traceback(result.traceback))


def not_begun(name: str) -> FileResult:
    return FileResult(name, PENDING, "the run was stopped before it")


def denoise_file(job: Job, model: Model, settings: Settings, reading: ReadOptions | None = None) -> FileResult:
    """Read, denoise and write one image, then measure it. Raises ImageError or ModelError."""
    reading = reading or ReadOptions()
    run = BatchRun(model, settings, reading, None, overwrite=True)
    started = time.perf_counter()
    LOG.debug("%s: is read", job.name)
    content = read_content(job.source, most_bytes(reading))
    radiograph = read_radiograph(job.source, content, reading, job.target)
    done = _denoise(_measured_source(job, radiograph, digest(content), started), run)
    write_bytes(job.target, done.result.encode(run.provenance))
    return _measured(done, run, str(job.target), Comparison())


@dataclass(frozen=True)
class BatchRun:
    """What is the same for all images of a run."""

    model: Model
    settings: Settings
    reading: ReadOptions
    reference: Path | None
    overwrite: bool
    shows: bool = False  # whether somebody wants to see before and after

    @property
    def made_by(self) -> bytes:
        """By which an output knows what made a result."""
        reading = (self.reading.white, self.reading.invert)
        return digest(repr((METHOD, self.model.sha256, self.settings, reading)).encode())

    @property
    def provenance(self) -> Provenance:
        return Provenance(__version__, self.model.title, self.model.sha256, self.settings)


@dataclass(frozen=True)
class _Read:
    """An image as it came from its file."""

    job: Job
    radiograph: Radiograph
    mottle: Mottle
    digest: bytes  # of the file's content
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class _Denoised:
    """Its result, to be written."""

    job: Job
    result: Radiograph
    before: Mottle
    shown_before: View | None
    digest: bytes
    seconds: float
    note: str = ""


class _Steps:
    """The three steps of a run. Each turns an exception into the failed result that it is."""

    def __init__(self, run: BatchRun, source: Storage, output: Output) -> None:
        self.run = run
        self.source = source
        self.originals = source.place
        self.output = output
        self.output_lost = False

    def read(self, job: Job) -> _Read | FileResult:
        return _guarded(job, lambda: self._read(job))

    def compute(self, item: _Read | FileResult) -> _Denoised | FileResult:
        return item if isinstance(item, FileResult) else _guarded(item.job, lambda: _denoise(item, self.run))

    def write(self, item: _Denoised | FileResult) -> tuple[FileResult, Pairs | None]:
        written = item if isinstance(item, FileResult) else _guarded(item.job, lambda: self._write(item))
        return (written, None) if isinstance(written, FileResult) else written

    def _read(self, job: Job) -> _Read | FileResult:
        started = time.perf_counter()
        LOG.debug("%s: is read", job.name)
        content = self.source.read(job.name, most_bytes(self.run.reading))
        job = by_content(job, content)
        self._check_target(job)
        self.output.claim(job.name, job.target)
        state = self._state(job)
        if state is State.FOREIGN:
            return FileResult(job.name, SKIPPED, IN_THE_WAY, output=self.output.shown(job.target))
        source = digest(content)
        if state is State.FINISHED and self.output.made_of(job.name, source):
            return FileResult(job.name, SKIPPED, FINISHED, output=self.output.shown(job.target))
        radiograph = read_radiograph(job.source, content, self.run.reading, job.target)
        measured = _measured_source(job, radiograph, source, started)
        return replace(measured, note=CUT_SHORT) if state is State.DAMAGED else measured

    def _state(self, job: Job) -> State:
        """What lies there. Raises ImageError where no result can lie there, before it is computed."""
        with self._noticing_loss():
            if not self.run.overwrite:
                return self.output.state(job.name, job.target)
            self.output.check(job.target)
            return State.ABSENT

    @contextlib.contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except OutputLostError:
            self.output_lost = True
            raise

    def _check_target(self, job: Job) -> None:
        """Raises ImageError where a result would replace another's, or an original."""
        rival = job.name.rpartition(".")[0]  # of a.jpg.png: a.jpg, whose result has the same name
        last = rival.rpartition("/")[2]
        if last and output_name(last) == job.target.name and self.source.has(rival):
            raise ImageError(f"{job.source}: {last} becomes {job.target.name} as well; rename one of them")
        landing = self.output.landing(job.target)
        if landing == self.originals or self.originals in landing.parents:
            raise ImageError(
                f"{job.target}: leads back into the input directory; remove that link or give another --out"
            )

    def _write(self, item: _Denoised) -> tuple[FileResult, Pairs | None]:
        started = time.perf_counter()
        LOG.debug("%s: is written", item.job.name)
        content = item.result.encode(self.run.provenance)
        with self._noticing_loss():
            self.output.write(item.job.name, item.job.target, item.digest, content)
        seconds = item.seconds + time.perf_counter() - started
        compared = compare_with_reference(item.job.name, item.result, self.run.reference, self.run.reading)
        result = _measured(replace(item, seconds=seconds), self.run, self.output.shown(item.job.target), compared)
        return result, _pairs(item, compared)


def _guarded(job: Job, step: Callable[[], T]) -> T | FileResult:
    """What a step gives, or the failed result that its exception is."""
    try:
        return step()
    except AlreadyDenoised as error:
        return FileResult(job.name, SKIPPED, str(error))
    except NoRadiograph as error:
        return FileResult(job.name, IGNORED, str(error).removeprefix(f"{job.source}: "))
    except CxrError as error:
        LOG.debug("%s: %s", job.name, traceback_of(error))
        message = str(error)
        return FileResult(job.name, FAILED, message if str(job.source) in message else f"{job.source}: {message}")
    except OSError as error:
        LOG.debug("%s: %s", job.name, traceback_of(error))
        return FileResult(job.name, FAILED, f"{job.source}: {error.strerror or error}")
    except Exception as error:  # a fault of ours, or of a library that nobody met before, is still this file's alone
        if lacks_memory(error) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem):
            return FileResult(job.name, FAILED, f"{job.source}: {TOO_LARGE}")
        line = f"{job.source}: {fault_line(error)}"
        return FileResult(job.name, FAILED, line, traceback=traceback_of(error))


def _measured_source(job: Job, radiograph: Radiograph, source: bytes, started: float) -> _Read:
    """Its mottle is estimated while it is read, so that computing need not wait for it."""
    mottle = estimate_mottle(radiograph.gray())
    return _Read(job, radiograph, mottle, source, time.perf_counter() - started)


def _denoise(item: _Read, run: BatchRun) -> _Denoised:
    started = time.perf_counter()
    height, width = item.radiograph.pixels.shape
    LOG.debug("%s: is denoised, %s x %s px of %s bits", item.job.name, width, height, item.radiograph.bits)
    unit = item.radiograph.unit()
    result = item.radiograph.restored(run.model.denoise_unit(unit, run.settings, item.mottle))
    seconds = item.seconds + time.perf_counter() - started
    shown = view(item.radiograph) if run.shows else None
    return _Denoised(item.job, result, item.mottle, shown, item.digest, seconds, item.note)


def _pairs(item: _Denoised, compared: Comparison) -> Pairs | None:
    """What there is to see of an image, where somebody wants to."""
    before = item.shown_before
    if before is None:
        return None
    reference = compared.clean
    clean = None if reference is None else view(reference, before.place, item.result.orientation)
    return paired(before, view(item.result, before.place), clean)


def _measured(item: _Denoised, run: BatchRun, output: str, compared: Comparison) -> FileResult:
    """The record of a result that was written to `output`."""
    height, width = item.result.pixels.shape
    noise = noise_figures(item.before, estimate_mottle(item.result.gray()), run.settings.strength, item.result.stretch)
    notes = (*item.result.notes, *item.result.encoding_notes(run.settings))
    note = NOTES.get(noise["mottle_left"], "")
    return FileResult(
        item.job.name,
        DONE,
        "; ".join(filter(None, (item.note, compared.note, note, *notes))),
        output=output,
        width=width,
        height=height,
        bits=item.result.bits,
        inverted=item.result.inverted,
        outside_window=item.result.outside_window,
        milliseconds=item.seconds * 1e3,
        megapixels_per_second=height * width / 1e6 / item.seconds,
        **noise,
        **compared.figures,
    )
