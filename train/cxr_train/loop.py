"""Train one model: AdamW, warm-up and cosine, averaged weights, best by validation, resumable exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from cxr_infer.errors import ModelError, UsageError
from cxr_infer.model.card import CHECKPOINT
from cxr_train.checkpoint import read_tensors, start_file, start_from
from cxr_train.config import STATE_FILE as STATE
from cxr_train.config import NoiseConfig, TrainConfig
from cxr_train.data import XrayFiles
from cxr_train.log import TrainingLog
from cxr_train.prefetch import batches
from cxr_train.run import DAMAGE, NOT_OURS, Progress, Run
from cxr_train.tasks import Task, make_task

__all__ = ["CHECKPOINT", "STATE", "Progress", "prepare", "proceed", "saved_config", "train"]


def saved_config(directory: Path) -> TrainConfig:
    """Return the configuration of the run in a directory. Raises ModelError if there is none."""
    path = directory / STATE
    if not path.is_file():
        raise ModelError(f"{path}: nothing to resume; start without --resume")
    header = read_tensors(path)[1]
    try:
        given: dict[str, Any] = header["config"]
        config = TrainConfig(**{**given, "noise": NoiseConfig(**given["noise"])})
        _require_types(config)
        _require_types(config.noise)
    except DAMAGE as error:
        raise ModelError(f"{path}: {NOT_OURS}") from error
    return config


def _require_types(config: TrainConfig | NoiseConfig) -> None:
    """Raise TypeError if a field of a configuration has a type other than its annotation."""
    kinds = {"int": int, "float": int | float, "str": str, "None": type(None), "NoiseConfig": NoiseConfig}
    for one in fields(config):
        named = [kinds.get(name.split("[")[0], dict) for name in str(one.type).split(" | ")]
        value = getattr(config, one.name)
        if isinstance(value, bool) or not any(isinstance(value, kind) for kind in named):
            raise TypeError(f"{one.name} is {type(value).__name__}")


def computing_device(name: str | None = None) -> torch.device:
    """Return the named device, else a GPU if torch finds one, else the CPU. Raises UsageError if it does not exist."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: torch {torch.__version__} finds no such GPU; omit --device")
    return device


def prepare(
    config: TrainConfig,
    files: XrayFiles,
    directory: Path,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    began: float | None = None,
) -> tuple[Run, Task]:
    """Do everything before the first step: read the images, build the model, load its start or its saved state.

    device: see `computing_device`. began: `time.monotonic` at which the run's time begins, by default now. Raises
    DataError, UsageError or ModelError.
    """
    run = Run(config, files, directory, device or computing_device(), time.monotonic() if began is None else began)
    if resume:
        run.load_state()
    elif (directory / STATE).exists() or (directory / CHECKPOINT).exists():
        raise UsageError(f"{directory}: already has trained weights; use --resume or another --out")
    task = make_task(files, config)
    if not resume:
        if config.start is None:
            task.prepare(run.model)
        else:
            start_from(run.model, start_file(config.start))
        task.calibrate(run.model)
        run.average.load_state_dict(run.model.state_dict())
    run.share_out_time(task)
    run.lap()
    return run, task


def proceed(
    run: Run,
    task: Task,
    *,
    on_step: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Run a prepared training. Writes checkpoint.safetensors (the best), state.safetensors (to resume), log.csv,
    curve.png.

    on_step and stopped are called after every step and between the images of a validation. Returns whether the training
    finished; one that `stopped` ended can be resumed exactly. Raises UsageError or ModelError, also if it diverges.
    """
    with closing(TrainingLog(run.directory, run.progress.step)) as log:
        return _proceed(run, task, log, on_step, stopped)


def _proceed(
    run: Run, task: Task, log: TrainingLog, on_step: Callable[[Progress], None], stopped: Callable[[], bool]
) -> bool:
    progress = run.progress
    last_saved = time.monotonic()
    going_on = True
    if progress.step and run.is_time_to_validate():  # a validation that was interrupted
        going_on = run.validate(task, on_step, stopped)
        log.note(progress, run.learning_rate())
    coming = batches(task.samples, progress.step, run.config.workers, pinned=run.on_gpu)
    with closing(coming):
        while going_on and (run.fraction() < 1.0 or not progress.step) and not stopped():
            batch = next(coming).to(run.device)
            run.step(lambda model, batch=batch: task.loss(model, batch))  # type: ignore[misc]
            progress.images_per_second = run.config.batch / run.lap()
            progress.fraction = run.fraction()
            if run.is_time_to_validate():
                going_on = run.validate(task, on_step, stopped)
            log.note(progress, run.learning_rate())
            on_step(progress)
            if time.monotonic() - last_saved > run.config.save_every:
                run.save_state()
                log.write()
                last_saved = time.monotonic()
    ended = going_on and run.fraction() >= 1.0
    if ended and run.validated != progress.step:
        ended = run.validate(task, on_step, stopped)
        log.note(progress, run.learning_rate())
        on_step(progress)
    run.save()
    return ended


def train(
    config: TrainConfig,
    files: XrayFiles,
    directory: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Call `prepare`, then `proceed`."""
    run, task = prepare(config, files, directory, resume=resume)
    return proceed(run, task, on_step=on_step, stopped=stopped)
