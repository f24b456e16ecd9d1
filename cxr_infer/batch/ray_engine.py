"""An engine on a Ray cluster: names are sent to actors that have loaded the model, and records come back.

Ray Data schedules and retries; images are processed by `denoise_jobs`, as on one machine. Resuming relies on the
records in the output, as on one machine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cxr_infer.batch.batch_run import BatchRun
from cxr_infer.batch.engine import Engine
from cxr_infer.batch.jobs import Plan, job_of
from cxr_infer.batch.pipeline import Show, not_begun
from cxr_infer.batch.ray_worker import Actor, ActorTask, ImageRow
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.extras import install_command
from cxr_infer.model.card import MODEL_NAMES
from cxr_infer.model.denoiser import Model
from cxr_infer.model.installed import model_path
from cxr_infer.report.results import FAILED, PENDING, FileResult
from cxr_infer.storage.protocols import Output
from cxr_infer.storage.urls import without_secrets

BLOCK_SIZE = 8  # images sent to an actor at a time: few, for smooth progress and cheap loss of an actor
IMAGES_PER_ACTOR = 2000  # images per actor in a data set, whose names are in memory
LEAST_IMAGES, MOST_IMAGES = 50_000, 2_000_000  # images of a data set; each data set starts new actors
RETRIES = 3  # of a block whose actor died; then of each of its images
CONNECT_TIMEOUT = 10.0  # s
LOG = logging.getLogger(__name__)
WORKER_LOST = "its worker died every time; is the image too large for the memory of a worker?"


class RayEngine(Engine):
    """An engine on a Ray cluster, connected during its `with` statement. address, threads: see `on_ray`.

    Entering raises UsageError if the cluster cannot be reached.
    """

    def __init__(self, address: str | None, threads: int) -> None:
        self._address, self._threads, self._actors = address, threads, 1
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(_connected(self._address))
            self._actors = _actors(self._threads)
            self._opened = opened.pop_all()
        LOG.info("%s actors of %s threads", self._actors, self._threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def results(
        self, plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], show: Show | None
    ) -> Iterator[FileResult]:
        """Yield results as actors finish them."""
        return _on_cluster(plan, run, output, stopped, self._threads, self._actors)


def on_ray(address: str | None, threads: int | None) -> RayEngine:
    """Return an engine for a Ray cluster.

    address: of the cluster; None starts one on this machine. threads: CPUs per actor, by default one. Raises UsageError
    if ray is not installed.
    """
    _quiet()
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--engine ray needs more packages; run: {install_command('ray')}") from error
    return RayEngine(address, threads or 1)


def _quiet() -> None:
    """Configure ray before it is imported: no usage statistics sent to its makers, no progress bars of its own, and no
    messages on stdout.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["RAY_DEDUP_LOGS"], os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "1", "."
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # its deprecation warning


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    import ray
    from ray.exceptions import RayError

    if ray.is_initialized():  # by a program that uses this library
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _require_listener(address)
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError, ImportError, RayError) as error:
        reason = without_secrets(" ".join(str(error).split()) or type(error).__name__)[:300]
        raise UsageError(
            f"{without_secrets(address or 'ray')}: cannot connect to a Ray cluster: {reason}; "
            "check --address; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from error
    with contextlib.suppress(ValueError):  # ray replaced it; only the main thread can set it
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str | None) -> None:
    """Raise OSError if nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself would take minutes to notice."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()


def _on_cluster(
    plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], threads: int, actors: int
) -> Iterator[FileResult]:
    task = _task(plan, run, threads)
    names = iter(plan.names)
    ended = False
    while some := list(islice(names, min(MOST_IMAGES, max(LEAST_IMAGES, IMAGES_PER_ACTOR * actors)))):
        for result in _data_set(some, plan, task, output, actors, stopped):
            ended = ended or result.status == PENDING
            yield result
        if ended:
            yield from map(not_begun, names)
            return
    output.take_in(task.run)


def _task(plan: Plan, run: BatchRun, threads: int) -> ActorTask:
    name = _model_name(run.model)
    return ActorTask(
        name,
        run.model.card.precision if name in MODEL_NAMES else "auto",
        run.model.sha256,
        threads,
        run.settings,
        run.reading,
        run.reference,
        run.overwrite,
        run.measures_finished,
        plan.source,
        plan.out,
        plan.shard,
        secrets.token_hex(8),
        Path.cwd(),
    )


def _model_name(model: Model) -> str:
    """Return the argument of `load_model` for workers: a shipped model by name, as each machine has its own file."""
    name, path = model.card.name, model.path.resolve()
    shipped = name in MODEL_NAMES and path == model_path(name, model.card.precision).resolve()
    return name if shipped else str(path)


def _actors(threads: int) -> int:
    """Return the number of actors: as many as there are CPUs for, less one for Ray itself if all CPUs were taken.

    Raises UsageError if no machine has enough CPUs for the threads of an actor.
    """
    import ray

    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    if threads > max(cpus, default=0):
        most = max(cpus, default=0)
        raise UsageError(f"--threads {threads} is more than the {most} CPUs of any machine in the cluster; give fewer")
    actors = sum(count // threads for count in cpus)
    return max(1, actors - 1) if actors * threads == sum(cpus) else actors


def _data_set(
    names: list[str], plan: Plan, task: ActorTask, output: Output, actors: int, stopped: Callable[[], bool]
) -> Iterator[FileResult]:
    """Yield the results of some names: in blocks first, then one by one for blocks whose actors kept dying."""
    import ray

    items: dict[int, ImageRow] = {}
    for index, name in enumerate(names):
        job = job_of(name, plan.source, plan.out)
        try:
            output.claim(name, job.target)
        except ImageError as error:
            yield FileResult(name, FAILED, f"{job.source}: {error}")
        else:
            items[index] = ImageRow(index, name, output.known(name))
    records = _relayed if ray.util.client.ray.is_connected() else _records
    for block_size in (min(BLOCK_SIZE, 1 + len(items) // (4 * actors)), 1):
        for item in records(list(items.values()), block_size, task, actors):
            if items.pop(item.index, None) is None or item.record is None:
                continue  # a duplicate from a second actor
            if item.record.status != FAILED:
                output.learn(item.name, item.known)
            yield item.record
            if stopped() or item.record.status == PENDING:
                yield from (not_begun(item.name) for item in items.values())
                return
    for item in items.values():
        yield FileResult(item.name, FAILED, f"{plan.source.path(item.name)}: {WORKER_LOST}")


def _records(items: list[ImageRow], block_size: int, task: ActorTask, actors: int) -> Iterator[ImageRow]:
    """Yield items with their records as they finish. Items of blocks whose actors kept dying are missing."""
    if not items:
        return
    import ray.data
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    blocks = -(-len(items) // block_size)
    rows = ray.data.from_items([item.packed() for item in items], override_num_blocks=blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from 2.64 on, `max_task_retries` moves elsewhere
        denoised = rows.map_batches(
            Actor,
            fn_constructor_args=(task,),
            batch_size=None,  # a whole block
            # one by one, so that no image waits at an actor that another may kill
            compute=ray.data.ActorPoolStrategy(
                size=min(actors, blocks), max_tasks_in_flight_per_actor=1 if block_size == 1 else 2
            ),
            num_cpus=task.threads,
            max_task_retries=RETRIES,  # otherwise an image that kills its actor would be retried for ever
        )
    try:
        # without prefetching, which would delay the records of a block until the next is done
        for block in denoised.iter_batches(batch_size=None, prefetch_batches=0):
            yield from map(ImageRow.unpacked, block["item"])
    except RayError as error:
        raise UsageError(f"the Ray cluster failed: {_reason(error)}") from error


class Relay:
    """Iterates a data set inside the cluster, for a driver outside of it (ray://), which cannot."""

    def __init__(self, items: list[ImageRow], block_size: int, task: ActorTask, actors: int) -> None:
        self._records = _records(items, block_size, task, actors)

    def some(self) -> list[ImageRow]:
        """Return the next few items, [] at the end."""
        return list(islice(self._records, BLOCK_SIZE))


def _relayed(items: list[ImageRow], block_size: int, task: ActorTask, actors: int) -> Iterator[ImageRow]:
    """Yield the same as `_records`, through a client connection (ray://)."""
    import ray
    from ray.exceptions import RayError

    try:
        actor: Any = ray.remote(num_cpus=0)(Relay)
        relay = actor.remote(items, block_size, task, actors)
        while some := ray.get(relay.some.remote()):
            yield from some
    except RayError as error:
        raise UsageError(f"the Ray cluster failed: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the last line of a message by Ray, which names the cause."""
    return without_secrets((str(error).strip().splitlines() or [type(error).__name__])[-1][:300])
