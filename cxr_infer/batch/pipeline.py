"""Denoise images one by one, and turn problems of a file into results."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from cxr_infer.batch.batch_run import BatchRun
from cxr_infer.batch.guard import guarded
from cxr_infer.batch.jobs import Job, by_content
from cxr_infer.batch.overlap import overlapped
from cxr_infer.batch.references import ReferenceComparison, compare_with_reference
from cxr_infer.errors import ImageError, OutputLostError
from cxr_infer.faults import Traceback
from cxr_infer.files import read_content, write_bytes
from cxr_infer.formats.decoder_process import ending_decoders
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.readers import most_bytes, read_radiograph, read_result
from cxr_infer.formats.registry import output_name
from cxr_infer.imaging.mottle import Mottle, estimate_mottle
from cxr_infer.model.denoiser import Model
from cxr_infer.report.columns import BY_KEY
from cxr_infer.report.noise_words import noise_figures, noise_note
from cxr_infer.report.results import (
    CUT_SHORT,
    DONE,
    FAILED,
    FINISHED,
    IN_THE_WAY,
    PENDING,
    SKIPPED,
    FileResult,
)
from cxr_infer.report.views import Pairs, View, paired, view
from cxr_infer.settings import ReadOptions, Settings
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.protocols import Output, State, Storage

LOG = logging.getLogger(__name__)

T = TypeVar("T")
Show: TypeAlias = Callable[[FileResult, Pairs], None]


def denoise_jobs(
    jobs: Iterable[Job],
    run: BatchRun,
    source: Storage,
    output: Output,
    stopped: Callable[[], bool] = lambda: False,
    show: Show | None = None,
) -> Generator[FileResult, None, bool]:
    """Yield the result of each image, in order. All engines call this, in whatever process.

    show: called with each result and its pictures before it is yielded. Ends early once `stopped` returns true or the
    output is lost, and returns whether the latter was the case.
    """
    steps = _Steps(run, source, output)
    results = overlapped(jobs, steps.read, steps.compute, steps.write, stopped=lambda: stopped() or steps.output_lost)
    for result, shown in results:
        if show is not None and shown is not None:
            show(result, shown)
        yield result
    return steps.output_lost


def log_result(result: FileResult) -> None:
    """Log the result of a file, and the traceback of an unexpected exception."""
    level = logging.WARNING if result.status == FAILED else logging.DEBUG
    took = BY_KEY["milliseconds"]
    LOG.log(level, "%s: %s: %s", result.name, result.status, result.message or f"in {took.shown(result)} {took.unit}")
    if result.traceback is not None:
        LOG.error("%s: %s", result.name, Traceback(result.traceback))


def not_begun(name: str) -> FileResult:
    return FileResult(name, PENDING, "not begun when the run was stopped")


def denoise_file(job: Job, model: Model, settings: Settings, reading: ReadOptions | None = None) -> FileResult:
    """Read, denoise, measure and write one image. Raises ImageError or ModelError."""
    LOG.debug("%s: reading", job.name)
    content = read_content(job.source, most_bytes(reading or ReadOptions()))
    denoised, result = denoise_content(job, content, model, settings, reading)
    write_bytes(job.target, denoised)
    return result


def denoise_content(
    job: Job, content: bytes, model: Model, settings: Settings, reading: ReadOptions | None = None
) -> tuple[bytes, FileResult]:
    """Return the content of a result, and the file's record. Raises ImageError or ModelError.

    job: names of source and target, which need not exist. content: of the source.
    """
    reading = reading or ReadOptions()
    run = BatchRun(model, settings, reading, None, overwrite=True)
    started = time.perf_counter()
    with ending_decoders():  # end them at once: memory shared with a child is copied when it changes
        radiograph = read_radiograph(job.source, content, reading, job.target)
    done = _denoise(_measured_source(job, radiograph, digest(content), started), run)
    return done.result.encode(run.provenance), _measured(done, run, str(job.target), ReferenceComparison())


@dataclass(frozen=True)
class _Read:
    """An image after reading."""

    job: Job
    radiograph: Radiograph
    mottle: Mottle
    digest: bytes  # of the file's content
    seconds: float
    note: str = ""
    finished: Radiograph | None = None  # the result by an earlier run


@dataclass(frozen=True)
class _Denoised:
    """An image after denoising; the result is yet to be written unless `finished`."""

    job: Job
    result: Radiograph
    before: Mottle
    shown_before: View | None
    source: Radiograph | None  # only if there are references
    digest: bytes
    seconds: float
    note: str = ""
    finished: bool = False  # by an earlier run


class _Steps:
    """The three steps of a run. Each turns an exception into a result."""

    def __init__(self, run: BatchRun, source: Storage, output: Output) -> None:
        self.run = run
        self.source = source
        self.originals = source.place
        self.output = output
        self.output_lost = False

    def read(self, job: Job) -> _Read | FileResult:
        return guarded(job, lambda: self._read(job))

    def compute(self, item: _Read | FileResult) -> _Denoised | FileResult:
        return item if isinstance(item, FileResult) else guarded(item.job, lambda: _denoise(item, self.run))

    def write(self, item: _Denoised | FileResult) -> tuple[FileResult, Pairs | None]:
        written = item if isinstance(item, FileResult) else guarded(item.job, lambda: self._write(item))
        return (written, None) if isinstance(written, FileResult) else written

    def _read(self, job: Job) -> _Read | FileResult:
        started = time.perf_counter()
        LOG.debug("%s: reading", job.name)
        content = self.source.read(job.name, most_bytes(self.run.reading))
        job = by_content(job, content)
        self._check_target(job)
        self.output.claim(job.name, job.target)
        state = self._state(job)
        if state is State.FOREIGN:
            return FileResult(job.name, SKIPPED, IN_THE_WAY, output=self.output.shown(job.target))
        source = digest(content)
        if state is State.FINISHED and self.output.made_of(job.name, source):
            return self._finished(job, content, source)
        radiograph = read_radiograph(job.source, content, self.run.reading, job.target)
        measured = _measured_source(job, radiograph, source, started)
        return replace(measured, note=CUT_SHORT) if state is State.DAMAGED else measured

    def _finished(self, job: Job, content: bytes, source: bytes) -> _Read | FileResult:
        """Read a finished image and its result for measuring; a `skipped` result if that is not wanted or fails."""
        skipped = FileResult(job.name, SKIPPED, FINISHED, output=self.output.shown(job.target))
        if not self.run.measures_finished:
            return skipped

        def read() -> _Read:
            radiograph = read_radiograph(job.source, content, self.run.reading, job.target)
            result = self.output.read(job.target, most_bytes(self.run.reading))
            finished = read_result(radiograph, job.target, result, self.run.reading)
            return replace(_measured_source(job, radiograph, source, time.perf_counter()), finished=finished)

        measured = guarded(job, read)
        if isinstance(measured, FileResult):
            message = f"{FINISHED}; not measured: {measured.message}"
            return replace(skipped, message=message, traceback=measured.traceback)
        return measured

    def _state(self, job: Job) -> State:
        """Return the state of the target. Raises ImageError if a result cannot be written there."""
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
        """Raise ImageError if a result would replace that of another image, or an original."""
        rival = job.name.rpartition(".")[0]  # for a.jpg.png: a.jpg, whose result would have the same name
        last = rival.rpartition("/")[2]
        if last and output_name(last) == job.target.name and self.source.has(rival):
            message = f"the result of {last} would be named {job.target.name} too; rename one of them"
            raise ImageError(f"{job.source}: {message}")
        landing = self.output.landing(job.target)
        if landing == self.originals or self.originals in landing.parents:
            raise ImageError(
                f"{job.target}: leads back into the input directory; remove that link or give another --out"
            )

    def _write(self, item: _Denoised) -> tuple[FileResult, Pairs | None]:
        started = time.perf_counter()
        if not item.finished:
            LOG.debug("%s: writing", item.job.name)
            content = item.result.encode(self.run.provenance)
            with self._noticing_loss():
                self.output.write(item.job.name, item.job.target, item.digest, content)
        seconds = item.seconds + time.perf_counter() - started
        name, reference = item.job.name, self.run.reference
        compared = compare_with_reference(name, item.source, item.result, reference, self.run.reading)
        result = _measured(replace(item, seconds=seconds), self.run, self.output.shown(item.job.target), compared)
        return result, _pairs(item, compared)


def _measured_source(job: Job, radiograph: Radiograph, source: bytes, started: float) -> _Read:
    """Estimate the mottle while reading, which overlaps with the computation of other images."""
    mottle = estimate_mottle(radiograph.gray())
    return _Read(job, radiograph, mottle, source, time.perf_counter() - started)


def _denoise(item: _Read, run: BatchRun) -> _Denoised:
    started = time.perf_counter()
    result = item.finished
    if result is None:
        height, width = item.radiograph.pixels.shape
        LOG.debug("%s: denoising, %s x %s px of %s bits", item.job.name, width, height, item.radiograph.bits)
        unit = item.radiograph.unit()
        result = item.radiograph.restored(run.model.denoise_unit(unit, run.settings, item.mottle))
    seconds = item.seconds + time.perf_counter() - started
    shown = view(item.radiograph) if run.shows else None
    finished = item.finished is not None
    source = item.radiograph if run.reference is not None else None
    return _Denoised(item.job, result, item.mottle, shown, source, item.digest, seconds, item.note, finished)


def _pairs(item: _Denoised, compared: ReferenceComparison) -> Pairs | None:
    """Return the pictures of an image before and after; None if they are not wanted."""
    before = item.shown_before
    if before is None:
        return None
    reference = compared.clean
    clean = None if reference is None else view(reference, before.place, item.result.orientation)
    return paired(before, view(item.result, before.place), clean)


def _measured(item: _Denoised, run: BatchRun, output: str, compared: ReferenceComparison) -> FileResult:
    """Return the record of a result. output: its path or URL."""
    height, width = item.result.pixels.shape
    noise = noise_figures(item.before, estimate_mottle(item.result.gray()), run.settings.strength, item.result.stretch)
    notes = (*item.result.notes, *item.result.encoding_notes(run.settings))
    note = noise_note(item.before, noise.get("mottle_left"))
    status, said = (SKIPPED, FINISHED) if item.finished else (DONE, item.note)
    return FileResult(
        item.job.name,
        status,
        "; ".join(filter(None, (said, compared.note, note, *notes))),
        output=output,
        width=width,
        height=height,
        bits=item.result.bits,
        inverted=item.result.inverted,
        outside_window=item.result.outside_window,
        milliseconds=None if item.finished else item.seconds * 1e3,
        megapixels_per_second=None if item.finished else height * width / 1e6 / item.seconds,
        **noise,
        **compared.figures,
    )
