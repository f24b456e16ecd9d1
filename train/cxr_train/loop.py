"""Train one model: AdamW, warm-up and cosine, averaged weights, best by validation, resumable to the step."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from cxr_infer import __version__
from cxr_infer.errors import ModelError, UsageError
from cxr_train.checkpoint import CheckpointInfo, read_tensors, save_checkpoint, start_from, write_tensors
from cxr_train.config import CHECKPOINT, STATE_FILE, NoiseConfig, TrainConfig
from cxr_train.data import XrayFiles
from cxr_train.models import build_model
from cxr_train.prefetch import batches
from cxr_train.tasks import Task, make_task

STATE = STATE_FILE
# what follows from a state that is not ours
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)
NOT_OURS = "damaged, or of another version of this project; begin again in another --out"
LOSS_MEMORY = 0.98  # decay of the running mean of the loss that is shown
LOSS_EVERY = 10  # steps of a GPU between looks at the loss, for which it has to be waited


@dataclass
class Progress:
    """Where a run stands; changed in place as it goes on."""

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan  # running mean
    best: float = math.inf  # best validation score so far, smaller is better
    metrics: dict[str, float] | None = None  # of the last validation
    images_per_second: float = 0.0
    fraction: float = 0.0  # of the whole training


class Run:
    """One training run in a directory of its own; `train` drives it."""

    def __init__(self, config: TrainConfig, files: XrayFiles, directory: Path) -> None:
        self.config, self.files, self.directory = config, files, directory
        self.fingerprint = files.fingerprint()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.model = build_model(config.model, config.arguments).to(self.device)
        for parameter in self.model.parameters():
            if parameter.ndim == 4:  # convolutions run faster on weights in this order
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.arguments: dict[str, Any] = self.model.arguments  # type: ignore[assignment]
        self.average = build_model(config.model, config.arguments).to(self.device).eval()
        self.average.load_state_dict(self.model.state_dict())
        use_bfloat16(self.model, self.device)
        self.on_gpu = self.device.type == "cuda"
        torch.backends.cudnn.allow_tf32 = False  # its ten bits lose the mottle of a high dose
        self.fast_model: nn.Module = self.model
        if self.on_gpu:  # a minute of compiling, after which it is no longer short of orders; on CPUs it was slower
            self.fast_model = cast(nn.Module, torch.compile(self.model, dynamic=False))
        self.loss: Tensor | None = None  # running mean
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.progress = Progress()

    def fraction(self) -> float:
        """Share of the training that is done, by steps or by minutes."""
        if self.config.minutes is None:
            return min(self.progress.step / self.config.steps, 1.0)
        return min(self.progress.seconds / (60 * self.config.minutes), 1.0)

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine from the first to the final rate."""
        c = self.config
        cosine = 0.5 * (1 + math.cos(math.pi * self.fraction()))
        rate = c.final_learning_rate + (c.learning_rate - c.final_learning_rate) * cosine
        return rate * min(1.0, (self.progress.step + 1) / c.warmup)

    def step(self, loss_of: Callable[[nn.Module], Tensor]) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.model.train()
        loss = loss_of(self.fast_model)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradient = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        # the average follows quickly at first, so that early validations mean something
        decay = min(self.config.ema, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        self.loss = loss.detach() if self.loss is None else torch.lerp(loss.detach(), self.loss, LOSS_MEMORY)
        self.progress.step += 1
        if not self.on_gpu or self.progress.step % LOSS_EVERY == 0:
            self.progress.loss = self.loss.item()
            if not math.isfinite(self.progress.loss):
                raise self._diverged(f"the loss is {self.progress.loss}")
            if not gradient:  # what a fault of a compiler looks like; the weights would stay as they are, or nearly so
                raise ModelError(
                    f"{self.directory}: no gradient reaches the weights at step {self.progress.step}; train with "
                    f"another release of torch than {torch.__version__}"
                )

    def _diverged(self, how: str) -> ModelError:
        return ModelError(
            f"{self.directory}: diverged by step {self.progress.step}, {how}; begin again in another --out with a "
            f"--learning-rate below {self.config.learning_rate:g}"
        )

    def validate(self, task: Task) -> None:
        """Validate the averaged weights; keep them as the checkpoint where they are the best so far.

        Raises ModelError where a figure is not finite: no comparison with it would be true, and nothing ever kept.
        """
        metrics = task.validate(self.average, self.device)
        if wrong := [name for name, value in metrics.items() if not math.isfinite(value)]:
            raise self._diverged(f"validation's {wrong[0]} is {metrics[wrong[0]]}")
        self.progress.metrics = metrics
        if metrics["score"] < self.progress.best:
            self.progress.best = metrics["score"]
            save_checkpoint(self.directory / CHECKPOINT, self.average.state_dict(), self._info(metrics))

    def _info(self, metrics: dict[str, float]) -> CheckpointInfo:
        return CheckpointInfo(
            model=self.config.model,
            arguments=self.arguments,
            training={
                **asdict(self.config),
                # a checkpoint is shared, a path is not
                "start": self.config.start and Path(self.config.start).name,
                "teacher": self.config.teacher and Path(self.config.teacher).name,
                "steps_done": self.progress.step,
                "minutes_done": round(self.progress.seconds / 60, 1),
                "device": self.device.type,
                "torch": torch.__version__,
            },
            data={
                "fingerprint": self.fingerprint,
                "layout": self.files.layout,
                "images": {split: len(paths) for split, paths in self.files.files.items()},
            },
            metrics=metrics,
            code_version=__version__,
        )

    def save_state(self) -> None:
        tensors: dict[str, Tensor] = {}
        for prefix, module in (("model", self.model), ("average", self.average)):
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adamw.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        now = self.progress
        header = {
            "config": asdict(self.config),
            "progress": {"step": now.step, "seconds": now.seconds, "loss": _finite(now.loss)},
            "best": _finite(now.best),
            "data": self.fingerprint,
        }
        write_tensors(self.directory / STATE, tensors, header)

    def load_state(self) -> None:
        """Raises ModelError where there is no state or it does not fit, UsageError where the data is another."""
        tensors, header = read_tensors(self.directory / STATE)
        if header.get("data") != self.fingerprint:
            raise UsageError(f"{self.directory / STATE}: was trained on other data; resume with the same --data")
        try:
            self._restore(tensors, header)
        except DAMAGE as error:
            raise ModelError(f"{self.directory / STATE}: {NOT_OURS}") from error

    def _restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        for prefix, module in (("model", self.model), ("average", self.average)):
            module.load_state_dict(_below(prefix, tensors))
        parameters = list(self.model.parameters())
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("adamw", tensors).items():
            index, key = name.split(".")
            parameter = parameters[int(index)]
            # the fused optimizer pairs elements by their place in memory: a moment must lie as its parameter does
            laid_out = torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
            moments.setdefault(int(index), {})[key] = laid_out
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        step, seconds, loss = (header["progress"][name] for name in ("step", "seconds", "loss"))
        self.progress = Progress(
            step=operator.index(step),
            seconds=float(seconds),
            loss=math.nan if loss is None else float(loss),
            best=math.inf if header["best"] is None else float(header["best"]),
        )
        if self.progress.step < 0 or self.progress.seconds < 0:
            raise ValueError("less than nothing was done")
        if self.progress.step:
            self.loss = torch.tensor(self.progress.loss, device=self.device)


def _finite(value: float) -> float | None:
    """A number as JSON has it."""
    return value if math.isfinite(value) else None


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def use_bfloat16(model: nn.Module, device: torch.device) -> None:
    """Let encoder and decoder compute in bfloat16 where the hardware has it: twice as fast on such a CPU.

    What enters, before the first convolution, the last convolution and the loss stay float32.
    """
    # torch has no public name for this question, so an older or newer torch may not know it
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    if device.type == "cpu" and not supported():
        return
    autocast = torch.autocast(device.type, dtype=torch.bfloat16)
    for part in (model.get_submodule("encoder"), model.get_submodule("decoder")):
        part.forward = autocast(part.forward)


def saved_config(directory: Path) -> TrainConfig:
    """The configuration of the run in a directory. Raises ModelError where it holds none."""
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
    """Raises TypeError where a field of a configuration holds what its annotation does not name."""
    kinds = {"int": int, "float": int | float, "str": str, "None": type(None), "NoiseConfig": NoiseConfig}
    for one in fields(config):
        named = [kinds.get(name.split("[")[0], dict) for name in str(one.type).split(" | ")]
        value = getattr(config, one.name)
        if isinstance(value, bool) or not any(isinstance(value, kind) for kind in named):
            raise TypeError(f"{one.name} is {type(value).__name__}")


def train(
    config: TrainConfig,
    files: XrayFiles,
    directory: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Train one model into `directory`: checkpoint.safetensors (the best) and state.safetensors (to resume).

    on_step is called after every step and validation. Returns whether the training came to its end; where `stopped`
    ended it early, `resume=True` continues exactly. Raises DataError, UsageError
    or ModelError, the last also where the training diverges.
    """
    run = Run(config, files, directory)
    if resume:
        run.load_state()
    elif (directory / STATE).exists() or (directory / CHECKPOINT).exists():
        raise UsageError(f"{directory}: holds trained weights already; use --resume or another --out")
    task = make_task(files, config)
    if not resume:
        if config.start is None:
            task.prepare(run.model)
        else:
            start_from(run.model, Path(config.start))
        task.calibrate(run.model)
        run.average.load_state_dict(run.model.state_dict())
    progress = run.progress
    last_saved = before = time.monotonic()
    coming = batches(task.samples, progress.step, config.workers, pinned=run.on_gpu)
    with closing(coming):
        while run.fraction() < 1.0 and not stopped():
            batch = next(coming).to(run.device)
            run.step(lambda model, batch=batch: task.loss(model, batch))  # type: ignore[misc]
            now = time.monotonic()
            progress.seconds += now - before
            progress.images_per_second = config.batch / (now - before)
            before = now
            progress.fraction = run.fraction()
            if progress.step % config.validate_every == 0:
                run.validate(task)
            on_step(progress)
            if now - last_saved > config.save_every:
                run.save_state()
                last_saved = now
    ended = run.fraction() >= 1.0
    if ended and progress.step % config.validate_every:
        run.validate(task)
        on_step(progress)
    run.save_state()
    return ended
