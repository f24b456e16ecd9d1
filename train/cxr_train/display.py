"""Show the progress of `cxr-train`: bars on a terminal, plain lines elsewhere, and the result of each validation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import TaskID

from cxr_infer.cli.bars import live_bar
from cxr_infer.report.terminal import stderr_console
from cxr_train.config import TrainConfig
from cxr_train.run import Progress

PLAIN_INTERVAL = 10.0  # s between progress lines if stderr is not a terminal


@contextmanager
def display(config: TrainConfig) -> Iterator[Callable[[Progress], None]]:
    """Yield a function to call after each step and between the images of a validation."""
    console = stderr_console()
    if not console.is_terminal:
        yield _plain_display(console, config)
        return
    with live_bar(console, counts=False) as bar:
        training = bar.add_task(config.model, total=1.0, text="")
        validation: list[TaskID] = []
        said = _Validations(bar.console)

        def show(progress: Progress) -> None:
            said.tell(progress)
            bar.update(training, completed=progress.fraction, text=_state(progress))
            if progress.validating is None:
                while validation:
                    bar.remove_task(validation.pop())
            else:
                if not validation:
                    validation.append(bar.add_task("validation", total=1.0, text=""))
                bar.update(validation[0], completed=progress.validating)

        yield show


def _plain_display(console: Console, config: TrainConfig) -> Callable[[Progress], None]:
    last = 0.0
    said = _Validations(console)

    def show(progress: Progress) -> None:
        nonlocal last
        said.tell(progress)
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL or progress.validating == 0:
            last = now
            console.print(f"{config.model} {_share(progress)}")

    return show


def _share(progress: Progress) -> str:
    if progress.validating is not None:
        return f"validation at step {progress.step}, {progress.validating:.0%}"
    left = progress.seconds / progress.fraction * (1 - progress.fraction) if progress.fraction else 0.0
    return f"{progress.fraction:.1%} {_state(progress)}, {left / 60:.0f} min left"


class _Validations:
    """Prints the result of each validation once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._metrics: dict[str, float] | None = None

    def tell(self, progress: Progress) -> None:
        if progress.metrics is not self._metrics:
            self._metrics = progress.metrics
            figures = ", ".join(f"{name} {value:.5g}" for name, value in (progress.metrics or {}).items())
            images = f"{progress.validation_images} image" + "s" * (progress.validation_images != 1)
            self._console.print(f"validation at step {progress.step} on {images}: {figures}")


def _state(progress: Progress) -> str:
    metrics = progress.metrics or {}
    psnr = metrics.get("psnr_q71", metrics.get("psnr_published"))
    validated = "" if psnr is None else f"PSNR {psnr:.2f} dB, "
    return f"step {progress.step}, loss {progress.loss:.5f}, {validated}{progress.images_per_second:.0f} images/s"
