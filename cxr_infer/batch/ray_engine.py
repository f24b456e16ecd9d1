"""The same work on a Ray cluster: names travel to actors that have loaded the model, records travel back.

Ray Data schedules, retries and moves; what becomes of an image is `denoise_jobs`, as on one machine. Resuming is the
output's: its records say what is finished, whoever asks.
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

BLOCK_SIZE = 8  # images that an actor gets at a time: few, so that progress shows and a lost actor costs little
IMAGES_PER_ACTOR = 2000  # images of a data set for each actor, for whose names there must be memory
LEAST_IMAGES, MOST_IMAGES = 50_000, 2_000_000  # images of a data set, for which actors are started anew
RETRIES = 3  # of a block whose actor was lost; then of each of its images
CONNECT_TIMEOUT = 10.0  # s
LOG = logging.getLogger(__name__)
WORKER_LOST = "its worker ended each time; is the image too large for its memory?"


class RayEngine(Engine):
    """Works on a Ray cluster while its `with` statement lasts. address, threads: see `on_ray`.

    Entering it raises UsageError where no cluster is there.
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
        """What becomes of each image, as actors finish."""
        return _on_cluster(plan, run, output, stopped, self._threads, self._actors)


def on_ray(address: str | None, threads: int | None) -> RayEngine:
    """An engine that works on the Ray cluster at `address`, or on one that it starts on this machine, while it lasts.

    threads: CPUs of an actor, one by default. Raises UsageError where ray is not installed.
    """
    _quiet()
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--engine ray needs {install_command('ray')}") from error
    return RayEngine(address, threads or 1)


def _quiet() -> None:
    """Before ray is imported: no usage statistics, which it would send to its makers, no bars beside ours, and no word
    of lost actors among the results on stdout.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["RAY_DEDUP_LOGS"], os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "1", "."
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # its notice of a change to come


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    import ray
    from ray.exceptions import RayError

    if ray.is_initialized():  # by whoever calls this as a library
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _require_listener(address)
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError, ImportError, RayError) as error:
        reason = without_secrets(" ".join(str(error).split()) or type(error).__name__)[:300]
        raise UsageError(
            f"{without_secrets(address or 'ray')}: cannot connect to a Ray cluster ({reason}); "
            "check --address; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from error
    with contextlib.suppress(ValueError):  # ray has put its own there; only the main thread has one
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT or ray://HOST:PORT, for which Ray itself takes minutes."""
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
    """What `load_model` takes: for a shipped model its name, because each machine has its own file of it."""
    name, path = model.card.name, model.path.resolve()
    shipped = name in MODEL_NAMES and path == model_path(name, model.card.precision).resolve()
    return name if shipped else str(path)


def _actors(threads: int) -> int:
    """As many as the cluster has CPUs for, one CPU left to Ray itself where there is more than one actor.

    Raises UsageError where no machine has as many CPUs as an actor has threads.
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
    """What becomes of some names: in blocks, then one by one those whose actor was lost again and again."""
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
                continue  # twice, from two actors
            if item.record.status != FAILED:
                output.learn(item.name, item.known)
            yield item.record
            if stopped() or item.record.status == PENDING:
                yield from (not_begun(item.name) for item in items.values())
                return
    for item in items.values():
        yield FileResult(item.name, FAILED, f"{plan.source.path(item.name)}: {WORKER_LOST}")


def _records(items: list[ImageRow], block_size: int, task: ActorTask, actors: int) -> Iterator[ImageRow]:
    """The items with their records, as they come. Those of a block that lost its actor too often are missing."""
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
        warnings.simplefilter("ignore")  # that from 2.64 on `max_task_retries` goes elsewhere, it does not say where
        denoised = rows.map_batches(
            Actor,
            fn_constructor_args=(task,),
            batch_size=None,  # a block, whose records appear together
            # one by one, nothing waits at an actor that an image before it may end
            compute=ray.data.ActorPoolStrategy(
                size=min(actors, blocks), max_tasks_in_flight_per_actor=1 if block_size == 1 else 2
            ),
            num_cpus=task.threads,
            max_task_retries=RETRIES,  # else an image that ends its actor would do so for ever
        )
    try:
        # not fetched ahead, for which the records of one block would wait for those of the next
        for block in denoised.iter_batches(batch_size=None, prefetch_batches=0):
            yield from map(ImageRow.unpacked, block["item"])
    except RayError as error:
        raise UsageError(f"the Ray cluster failed: {_reason(error)}") from error


class Relay:
    """Follows a data set from inside the cluster, for a driver outside of it, which cannot."""

    def __init__(self, items: list[ImageRow], block_size: int, task: ActorTask, actors: int) -> None:
        self._records = _records(items, block_size, task, actors)

    def some(self) -> list[ImageRow]:
        """The next few, none at the end."""
        return list(islice(self._records, BLOCK_SIZE))


def _relayed(items: list[ImageRow], block_size: int, task: ActorTask, actors: int) -> Iterator[ImageRow]:
    """The same as `_records`, through a client at ray://."""
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
    """The last line of what Ray says, which names the cause."""
    return without_secrets((str(error).strip().splitlines() or [type(error).__name__])[-1][:300])
