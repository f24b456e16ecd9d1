"""What does the work of a run: the contract of an engine, and the engine of this process."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Self

from cxr_infer.batch.batch_run import BatchRun
from cxr_infer.batch.jobs import Plan
from cxr_infer.batch.pipeline import Show, denoise_jobs, log_result, not_begun
from cxr_infer.formats.decoder_process import ending_decoders
from cxr_infer.model.denoiser import Model
from cxr_infer.report.results import FAILED, IGNORED, FileResult
from cxr_infer.settings import ReadOptions, Settings
from cxr_infer.storage.protocols import Output

LOG = logging.getLogger(__name__)


class Engine(ABC):
    """What denoises the images of a run, wherever it does so. Subclass it and give an object to `denoise_directory`.

    The contract:

    - `results` yields exactly one `FileResult` for each name in `plan.names`, in any order, as images are done.
    - What becomes of an image is `denoise_jobs` of `cxr_infer.batch.pipeline`, wherever that runs, so that results do
      not depend on the engine. It turns what is wrong with an image into a result with status `failed`.
    - `stopped` is asked between images. Once it returns true, nothing more is begun, what was begun is finished, and
      `not_begun(name)` is yielded for each of the other names. The same holds once the output can take no more.
    - `output` has been entered by the caller in this process and must not be entered again. Work in another process
      uses `plan.out.worker_output`; what is known of a result goes there by `output.known`, comes back by
      `output.learn`, and `output.take_in` ends the run.
    - An engine that is told nothing of an image must not say that it is done: a result is there before it is yielded.
    - What an engine needs for longer than a run, such as a connection, it takes in `__enter__` and gives back in
      `__exit__`. Whoever made it enters it; without that, `results` need not work.

    Attributes:
        shows: Whether `results` calls `show` with the pictures of each image. Pictures stay where they were made, so
            an engine of other processes does not.
    """

    shows = False

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027  most engines take nothing
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what `__enter__` took; an exception goes on."""

    @abstractmethod
    def results(
        self, plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], show: Show | None
    ) -> Iterator[FileResult]:
        """Yield what becomes of each image of the plan.

        Args:
            plan: The names, and the storage that they are in and go to.
            run: What is the same for all images: model, settings, references.
            output: The place for results, entered.
            stopped: Whether the run is to end.
            show: To be called with each result and its pictures before it is yielded, by an engine that `shows`.
        """


class LocalEngine(Engine):
    """This process: one image after the other, which the network computes with all threads. Results are in order."""

    shows = True

    def results(
        self, plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], show: Show | None
    ) -> Iterator[FileResult]:
        begun = 0
        for result in denoise_jobs(plan.jobs(), run, plan.source, output, stopped, show):
            begun += 1
            yield result
        yield from map(not_begun, islice(plan.names, begun, None))


def denoise_files(
    plan: Plan,
    model: Model,
    settings: Settings | None = None,
    reading: ReadOptions | None = None,
    *,
    reference: Path | None = None,
    overwrite: bool = False,
    measure_finished: bool = True,
    show: Show | None = None,
    stopped: Callable[[], bool] = lambda: False,
    engine: Engine | None = None,
) -> Iterator[FileResult]:
    """Denoise what was planned and yield what became of every file, images in order. The steps overlap.

    A bad file is a result with status `failed`, never an exception; one that was finished in an earlier run by the same
    model and settings from the same content is skipped, but measured and shown like the others, unless
    `measure_finished` is False. reading: how files are read, references too. reference:
    directory of clean images under the same names. overwrite: do all again and replace whatever exists. show: called
    with every image that has a result and what a display shows of it, before its result is yielded, by engines that
    show. stopped: asked before each image; once true, or once the output directory can
    hold no more, what was denoised is written and yielded, and the rest are `pending`. engine: what does the work,
    entered by the caller; None for a `LocalEngine`. Raises UsageError where the settings do not fit the model or
    the output directory cannot be used.
    """
    run = BatchRun(
        model,
        settings or Settings(),
        reading or ReadOptions(),
        reference,
        overwrite,
        measure_finished,
        show is not None,
    )
    model.check(run.settings)  # an impossible setting is the user's mistake, not every file's
    LOG.info("%s images in %s, results in %s", len(plan.names), plan.source.shown, plan.out.shown)
    LOG.info("model %s, SHA-256 %s, %s, %s", model.title, model.sha256, run.settings, run.reading)
    with plan.out.output(run.made_by, plan.shard) as output, ending_decoders():
        unread = chain(
            (FileResult(name, FAILED, f"{name}: {reason}") for name, reason in plan.problems),
            (FileResult(name, IGNORED, reason) for name, reason in plan.ignored),
        )
        results = (engine or LocalEngine()).results(plan, run, output, stopped, show)
        for result in chain(unread, results):
            log_result(result)
            yield result
