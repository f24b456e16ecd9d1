"""One training run: its model, averaged weights, optimizer, time and files. Driven by `cxr_train.loop`."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from cxr_infer import __version__
from cxr_infer.errors import ModelError, UsageError
from cxr_infer.model.card import CHECKPOINT
from cxr_train.checkpoint import CheckpointInfo, read_tensors, save_checkpoint, write_tensors
from cxr_train.config import STATE_FILE as STATE
from cxr_train.config import TrainConfig
from cxr_train.data import XrayFiles
from cxr_train.models import build_model
from cxr_train.tasks import Task
from cxr_train.validation import ValidationStopped, affordable_images, evenly_spaced, validation_seconds

# exceptions raised by a state of another version
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)
NOT_OURS = "damaged, or written by another version; start a new run in another --out"
LOSS_MEMORY = 0.98  # decay of the running mean of the displayed loss
LOSS_EVERY = 10  # steps between reads of the loss from a GPU, which block


@dataclass
class Progress:
    """The state of a run; updated in place."""

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan  # running mean
    best: float = math.inf  # best validation score so far, smaller is better
    metrics: dict[str, float] | None = None  # of the last validation
    validating: float | None = None  # fraction done of the running validation, if any
    validation_images: int = 0  # images per validation
    images_per_second: float = 0.0
    fraction: float = 0.0  # of the whole training


class Run:
    """A training run in its own directory, driven by `train`. began: `time.monotonic` at its start."""

    def __init__(
        self, config: TrainConfig, files: XrayFiles, directory: Path, device: torch.device, began: float
    ) -> None:
        self.config, self.files, self.directory = config, files, directory
        self.fingerprint = files.fingerprint()
        self.device = device
        torch.manual_seed(config.seed)
        self.model = build_model(config.model, config.arguments).to(self.device)
        for parameter in self.model.parameters():
            if parameter.ndim == 4:  # convolutions are faster in this memory order
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.arguments: dict[str, Any] = self.model.arguments  # type: ignore[assignment]
        self.average = build_model(config.model, config.arguments).to(self.device).eval()
        self.average.load_state_dict(self.model.state_dict())
        use_bfloat16(self.model, self.device)
        self.on_gpu = self.device.type == "cuda"
        torch.backends.cudnn.allow_tf32 = False  # TF32's ten bits lose the mottle of a high dose
        self.fast_model: nn.Module = self.model
        if self.on_gpu:  # takes a minute, then keeps a GPU busy; slower on CPUs
            self.fast_model = cast(nn.Module, torch.compile(self.model, dynamic=False))
        self.loss: Tensor | None = None  # running mean
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.progress = Progress()
        self.validated = 0  # the step at which the last validation was made
        self.validation_seconds = 0.0  # duration of a validation, if `minutes` are given
        self._lap_began = began

    def lap(self) -> float:
        """Add the seconds since the last call, or since the start, to the run's time, and return them."""
        now = time.monotonic()
        seconds, self._lap_began = now - self._lap_began, now
        self.progress.seconds += seconds
        return seconds

    def fraction(self) -> float:
        """Return the fraction of the training that is done, by steps or by minutes; the last validation is reserved."""
        if self.config.minutes is None:
            return min(self.progress.step / self.config.steps, 1.0)
        for_steps = 60 * self.config.minutes - self.validation_seconds
        return min(self.progress.seconds / for_steps, 1.0) if for_steps > 0 else 1.0

    def share_out_time(self, task: Task) -> None:
        """Measure the duration of a validation, and limit its images so that `minutes` can be kept."""
        images = len(task.validation)
        if self.config.minutes is not None:
            seconds = validation_seconds(task, self.average, self.device)
            affordable = affordable_images(images, seconds, 60 * self.config.minutes)
            self.progress.validation_images = self.progress.validation_images or affordable
            self.validation_seconds = seconds * self.progress.validation_images / images
        self.progress.validation_images = min(self.progress.validation_images or images, images)
        task.validation = evenly_spaced(task.validation, self.progress.validation_images)

    def is_time_to_validate(self) -> bool:
        """Whether a validation is due and leaves time for the final one."""
        if self.progress.step % self.config.validate_every or self.validated == self.progress.step:
            return False
        minutes = self.config.minutes
        return minutes is None or self.progress.seconds + 2 * self.validation_seconds < 60 * minutes

    def learning_rate(self) -> float:
        """Return the learning rate: linear warm-up, then a cosine from the first to the final rate."""
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
        # the average follows quickly at first, so that early validations are meaningful
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
            if not gradient:  # sign of a compiler bug; the weights would hardly change
                raise ModelError(
                    f"{self.directory}: no gradient reached the weights at step {self.progress.step}; train with "
                    f"another release of torch than {torch.__version__}"
                )

    def _diverged(self, how: str) -> ModelError:
        return ModelError(
            f"{self.directory}: training diverged at step {self.progress.step} ({how}); start a new run in "
            f"another --out with a --learning-rate below {self.config.learning_rate:g}"
        )

    def validate(self, task: Task, on_step: Callable[[Progress], None], stopped: Callable[[], bool]) -> bool:
        """Validate the averaged weights; save them as the checkpoint if they are the best so far.

        The state is saved first. on_step and stopped are called between images. Returns whether the validation
        finished. Raises ModelError if a figure is not finite, because no later result could be compared with it.
        """
        began = time.monotonic()
        self.save()

        def seen(share: float) -> None:
            self.progress.validating = share
            self.lap()
            on_step(self.progress)
            if stopped():
                raise ValidationStopped

        try:
            seen(0.0)
            metrics = task.validate(self.average, self.device, seen)
        except ValidationStopped:
            return False
        finally:
            self.progress.validating = None
        if wrong := [name for name, value in metrics.items() if not math.isfinite(value)]:
            if self._is_unproven():
                (self.directory / CHECKPOINT).unlink()
            raise self._diverged(f"validation's {wrong[0]} is {metrics[wrong[0]]}")
        self.progress.metrics, self.validated = metrics, self.progress.step
        if self.config.minutes is not None:
            self.validation_seconds = time.monotonic() - began
        if metrics["score"] < self.progress.best:
            self.progress.best = metrics["score"]
            self._save_checkpoint(metrics)
        return True

    def save(self) -> None:
        """Save the state and, until weights have been validated, a checkpoint of the current ones."""
        self.save_state()
        if self._is_unproven() and self.progress.step:
            self._save_checkpoint({})

    def _is_unproven(self) -> bool:
        return not math.isfinite(self.progress.best)

    def _save_checkpoint(self, metrics: dict[str, float]) -> None:
        save_checkpoint(self.directory / CHECKPOINT, self.average.state_dict(), self._info(metrics))

    def _info(self, metrics: dict[str, float]) -> CheckpointInfo:
        return CheckpointInfo(
            model=self.config.model,
            arguments=self.arguments,
            training={
                **asdict(self.config),
                "validate_images": self.progress.validation_images,
                # names only: checkpoints are shared, paths are private
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
            "validation": {"step": self.validated, "images": now.validation_images},
            "best": _finite(now.best),
            "data": self.fingerprint,
        }
        write_tensors(self.directory / STATE, tensors, header)

    def load_state(self) -> None:
        """Raises ModelError if there is no state or it does not fit, UsageError if the data differ."""
        tensors, header = read_tensors(self.directory / STATE)
        if header.get("data") != self.fingerprint:
            raise UsageError(f"{self.directory / STATE}: trained on other data; resume with the same --data")
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
            # the fused optimizer pairs elements by memory order: a moment must be laid out like its parameter
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
        before = {"step": self.progress.step, "images": 0}  # states of older versions lack both
        validation = header.get("validation", before)
        self.validated = operator.index(validation["step"])
        self.progress.validation_images = operator.index(validation["images"])
        if min(step, seconds, self.validated, self.progress.validation_images) < 0:
            raise ValueError("negative progress")
        if self.progress.step:
            self.loss = torch.tensor(self.progress.loss, device=self.device)


def _finite(value: float) -> float | None:
    """Return a number as JSON can represent it."""
    return value if math.isfinite(value) else None


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def use_bfloat16(model: nn.Module, device: torch.device) -> None:
    """Let encoder and decoder compute in bfloat16 if the hardware supports it: twice as fast on such a CPU.

    Everything before the first convolution, the last convolution and the loss stay float32.
    """
    # a private function of torch, which other versions may lack
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    if device.type == "cpu" and not supported():
        return
    autocast = torch.autocast(device.type, dtype=torch.bfloat16)
    for part in (model.get_submodule("encoder"), model.get_submodule("decoder")):
        part.forward = autocast(part.forward)
