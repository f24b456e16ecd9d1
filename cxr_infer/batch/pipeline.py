"""Images -> a stream of results, one bad file never ending the run."""

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
from cxr_infer.batch.references import Comparison, compare_with_reference
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
    """What becomes of each image, in order: the one function that every engine calls, wherever it runs.

    Ends early after `stopped`, or once the output can hold no more. Returns whether the latter is so.
    """
    steps = _Steps(run, source, output)
    results = overlapped(jobs, steps.read, steps.compute, steps.write, stopped=lambda: stopped() or steps.output_lost)
    for result, shown in results:
        if show is not None and shown is not None:
            show(result, shown)
        yield result
    return steps.output_lost


def log_result(result: FileResult) -> None:
    """Log what became of a file, and the traceback of what nobody foresaw."""
    level = logging.WARNING if result.status == FAILED else logging.DEBUG
    took = BY_KEY["milliseconds"]
    LOG.log(level, "%s: %s: %s", result.name, result.status, result.message or f"in {took.shown(result)} {took.unit}")
    if result.traceback is not None:
        LOG.error("%s: %s", result.name, Traceback(result.traceback))


def not_begun(name: str) -> FileResult:
    return FileResult(name, PENDING, "not begun when the run was stopped")


def denoise_file(job: Job, model: Model, settings: Settings, reading: ReadOptions | None = None) -> FileResult:
    """Read, denoise, measure and write one image. Raises ImageError or ModelError."""
    LOG.debug("%s: is read", job.name)
    content = read_content(job.source, most_bytes(reading or ReadOptions()))
    denoised, result = denoise_content(job, content, model, settings, reading)
    write_bytes(job.target, denoised)
    return result


def denoise_content(
    job: Job, content: bytes, model: Model, settings: Settings, reading: ReadOptions | None = None
) -> tuple[bytes, FileResult]:
    """The content of the result of one file, and its record. Raises ImageError or ModelError.

    job: names of both, whether such files are there or not. content: of the source.
    """
    reading = reading or ReadOptions()
    run = BatchRun(model, settings, reading, None, overwrite=True)
    started = time.perf_counter()
    with ending_decoders():  # at once, since what two processes share must be copied before it can be changed
        radiograph = read_radiograph(job.source, content, reading, job.target)
    done = _denoise(_measured_source(job, radiograph, digest(content), started), run)
    return done.result.encode(run.provenance), _measured(done, run, str(job.target), Comparison())


@dataclass(frozen=True)
class _Read:
    """An image as it came from its file."""

    job: Job
    radiograph: Radiograph
    mottle: Mottle
    digest: bytes  # of the file's content
    seconds: float
    note: str = ""
    finished: Radiograph | None = None  # its result, where an earlier run wrote that


@dataclass(frozen=True)
class _Denoised:
    """Its result, to be written unless it is there."""

    job: Job
    result: Radiograph
    before: Mottle
    shown_before: View | None
    source: Radiograph | None  # where there is a reference to measure it against
    digest: bytes
    seconds: float
    note: str = ""
    finished: bool = False  # in an earlier run


class _Steps:
    """The three steps of a run. Each turns an exception into the failed result that it is."""

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
            return self._finished(job, content, source)
        radiograph = read_radiograph(job.source, content, self.run.reading, job.target)
        measured = _measured_source(job, radiograph, source, started)
        return replace(measured, note=CUT_SHORT) if state is State.DAMAGED else measured

    def _finished(self, job: Job, content: bytes, source: bytes) -> _Read | FileResult:
        """An image whose result is there: to be measured, where that can be done."""
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
        if not item.finished:
            LOG.debug("%s: is written", item.job.name)
            content = item.result.encode(self.run.provenance)
            with self._noticing_loss():
                self.output.write(item.job.name, item.job.target, item.digest, content)
        seconds = item.seconds + time.perf_counter() - started
        name, reference = item.job.name, self.run.reference
        compared = compare_with_reference(name, item.source, item.result, reference, self.run.reading)
        result = _measured(replace(item, seconds=seconds), self.run, self.output.shown(item.job.target), compared)
        return result, _pairs(item, compared)


def _measured_source(job: Job, radiograph: Radiograph, source: bytes, started: float) -> _Read:
    """Its mottle is estimated while it is read, so that computing need not wait for it."""
    mottle = estimate_mottle(radiograph.gray())
    return _Read(job, radiograph, mottle, source, time.perf_counter() - started)


def _denoise(item: _Read, run: BatchRun) -> _Denoised:
    started = time.perf_counter()
    result = item.finished
    if result is None:
        height, width = item.radiograph.pixels.shape
        LOG.debug("%s: is denoised, %s x %s px of %s bits", item.job.name, width, height, item.radiograph.bits)
        unit = item.radiograph.unit()
        result = item.radiograph.restored(run.model.denoise_unit(unit, run.settings, item.mottle))
    seconds = item.seconds + time.perf_counter() - started
    shown = view(item.radiograph) if run.shows else None
    finished = item.finished is not None
    source = item.radiograph if run.reference is not None else None
    return _Denoised(item.job, result, item.mottle, shown, source, item.digest, seconds, item.note, finished)


def _pairs(item: _Denoised, compared: Comparison) -> Pairs | None:
    """What there is to see of an image, where somebody wants to."""
    before = item.shown_before
    if before is None:
        return None
    reference = compared.clean
    clean = None if reference is None else view(reference, before.place, item.result.orientation)
    return paired(before, view(item.result, before.place), clean)


def _measured(item: _Denoised, run: BatchRun, output: str, compared: Comparison) -> FileResult:
    """The record of a result that lies at `output`."""
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
