"""The engine interface, and the engine that works in this process."""

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
    """Denoises the images of a run, here or elsewhere. Subclass it and pass an instance to `denoise_directory`.

    The contract:

    - `results` yields exactly one `FileResult` for each name in `plan.names`, in any order, as images are finished.
    - Images are processed by `denoise_jobs` of `cxr_infer.batch.pipeline`, in any process, so that results do not
      depend on the engine. It turns problems with an image into a result with status `failed`.
    - `stopped` is called between images. Once it returns true, no further image is begun, begun ones are finished, and
      `not_begun(name)` is yielded for each remaining name. The same applies once the output is lost.
    - The caller has entered `output` in this process; do not enter it again. Another process uses
      `plan.out.worker_output`. Send it the records of `output.known`, return its records with `output.learn`, and call
      `output.take_in` at the end of the run.
    - A result is yielded only after it has been written.
    - Resources that outlive a run, such as a connection, are acquired in `__enter__` and released in `__exit__`. The
      creator of the engine enters it; otherwise `results` need not work.

    Attributes:
        shows: Whether `results` calls `show` with the pictures of each image. Engines in other processes do not, since
            pictures stay where they were made.
    """

    shows = False

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027  most engines need no resources
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what `__enter__` acquired. Exceptions propagate."""

    @abstractmethod
    def results(
        self, plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], show: Show | None
    ) -> Iterator[FileResult]:
        """Yield one result for each image of the plan.

        Args:
            plan: Names of the images, and storage of originals and results.
            run: Parameters of the run: model, settings, references.
            output: The entered output.
            stopped: Whether to stop.
            show: Called with each result and its pictures before it is yielded, if the engine `shows`.
        """


class LocalEngine(Engine):
    """Works in this process, on one image at a time with all threads. Results are in order."""

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
    """Denoise the files of a plan, and yield one result per file.

    A file that fails is a result with status `failed`, not an exception. A file that an earlier run finished with the
    same content, model and settings is skipped, but still measured and shown unless `measure_finished` is false.

    reading: also for references. reference: directory of clean images with the same names. overwrite: denoise all
    images again, and replace existing files. show: called with each result and its pictures before it is yielded, by
    engines that show. stopped: called before each image; once true, or once the output is lost, begun images are
    finished and the rest is `pending`. engine: entered by the caller; None for a `LocalEngine`.
    Raises UsageError if the settings do not fit the model or the output cannot be used.
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
    model.check(run.settings)  # an invalid setting is one error, not one per file
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
