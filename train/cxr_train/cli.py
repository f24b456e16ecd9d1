"""The command line of the training stage: `cxr-train MODEL --data DIR`, `cxr-train evaluate --data DIR`."""

# No `from __future__ import annotations`: annotations are evaluated per command, with the defaults of its model.

import dataclasses
import importlib.util
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cxr_infer.cli.bars import waiting
from cxr_infer.cli.exit_status import WRONG_USAGE, reports_errors
from cxr_infer.cli.process import stop_on_signals
from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command, missing_package
from cxr_infer.model.card import CHECKPOINT
from cxr_infer.report.terminal import print_line, stderr_console
from cxr_infer.report.text import print_error
from cxr_train.config import CURVE, LOG, STATE_FILE, TrainConfig
from cxr_train.evaluate_command import evaluate_command
from cxr_train.options import NETWORK, comma_separated, with_options
from cxr_train.specs import SPECS

LEAST_CROP = 32  # px
LEAST_AND_MOST = ((0, 64), (1, 4096))  # residual blocks and channels of a stage
DEVICES = re.compile(r"cpu|cuda(:\d+)?")
OF_WINDOW = ("size", "crop", "teacher", *NETWORK)  # options that apply to `window` only
NO_MEMORY = ("allocate memory", "out of memory", "not enough memory")  # parts of torch's messages

EXAMPLES = """Examples:

cxr-train window --data ./clean --minutes 60  [dim]# one model, for an hour[/dim]

cxr-train window --data ./clean --resume  [dim]# continue it[/dim]

cxr-train --all --data ./clean  [dim]# all three models[/dim]"""


class TrainGroup(TyperGroup):
    """Command group that accepts `--all` as a command, as `cxr-export` does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = [word for word in args if word != "--all"]
        return super().parse_args(ctx, args if words == args else ["all", *words])


app = typer.Typer(
    name="cxr-train",
    cls=TrainGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train the models on a directory of clean chest X-rays, and compare them.\n\n"
    "cxr-train window --help lists all options with their defaults, such as --minutes, --resume and --device; those "
    "marked `window` apply to that model only.",
    epilog=EXAMPLES,
    rich_markup_mode="rich",
)


@app.callback()
def options(
    every: Annotated[
        bool, typer.Option("--all", help="Train all three models; cxr-train all --help lists the options.")
    ] = False,
) -> None:
    """Accept options before a command."""


def _training_command(name: str | None) -> Callable[..., None]:
    """Return the command that trains one model, or all three for None."""
    names = tuple(SPECS) if name is None else (name,)

    def command(
        data: Path, out: Path, *, device: str | None, teacher: Path | None, resume: bool, **options: Any
    ) -> None:
        given = options | {"teacher": teacher and str(teacher)}
        changes = _changes({option: value for option, value in given.items() if value is not None}, names)
        for model in names:
            begun = (out / model / STATE_FILE).exists() or name is not None
            train_one(model, data, out / model, changes[model], resume=resume and begun, device=device)

    command.__doc__ = f"Train {name or 'all three models'} on a directory of clean chest X-rays."
    if name is not None:
        defaults = SPECS[name].defaults
        batches = f"{defaults.batch} {'crops' if SPECS[name].in_windows else 'images'}"
        command.__doc__ += f" Default: {defaults.steps} steps of {batches}."
    return reports_errors(with_options(command, names))


def _changes(given: dict[str, Any], models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the changes of the given options to each model's configuration. Raises UsageError."""
    if given.get("start") is not None and len(models) > 1:
        raise UsageError("--start works for one model at a time, such as cxr-train window --start window")
    changes = {}
    for model in models:
        fits = {option: value for option, value in given.items() if SPECS[model].in_windows or option not in OF_WINDOW}
        if len(models) == 1 and (unfit := next((option for option in given if option not in fits), None)):
            raise UsageError(f"--{unfit.replace('_', '-')} applies to `window` only; omit it for {model}")
        network = {option: _numbers(option, fits.pop(option)) for option in NETWORK if option in fits}
        changes[model] = {**fits, **({"arguments": network} if network else {})}
    return changes


def _numbers(option: str, text: str) -> list[int]:
    """Parse the numbers of `--widths` and similar options. Raises UsageError."""
    example = NETWORK[option]
    least, most = LEAST_AND_MOST[option == "widths"]
    words = text.split(",")
    numbers = [int(word) for word in words if re.fullmatch(r"\s*\d{1,5}\s*", word)]
    if not len(words) == len(numbers) == len(example) or not all(least <= n <= most for n in numbers):
        raise UsageError(
            f"--{option.replace('_', '-')} {text!r}: use {len(example)} whole numbers from {least} to {most}, "
            f"such as {comma_separated(example)}"
        )
    return numbers


for _name in SPECS:
    app.command(_name)(_training_command(_name))
app.command("all", hidden=True)(_training_command(None))


def train_one(
    model: str,
    data: Path,
    directory: Path,
    changes: dict[str, Any],
    *,
    resume: bool = False,
    device: str | None = None,
) -> None:
    """Train one model with a live display. Raises CxrError; typer.Exit(130 or 143) if stopped early."""
    from cxr_train.data import find_xrays

    began = time.monotonic()
    base = _begun(directory) if resume else SPECS[model].defaults
    if resume and "arguments" in changes:
        raise UsageError(f"{directory}: a resumed run keeps its network; start a new run with another --out")
    config = dataclasses.replace(base, **changes)
    _check(config)
    if device is not None and not DEVICES.fullmatch(device):
        raise UsageError(f"unknown device {device!r}; use cpu, cuda or cuda:N")
    files = find_xrays(data)
    # these load torch, which takes seconds; report wrong options first
    from cxr_train.display import display
    from cxr_train.loop import computing_device, prepare, proceed

    computes_on = computing_device(device)
    counts = ", ".join(f"{len(paths)} {split}" for split, paths in files.files.items())
    stderr_console().print(f"{model}: {counts} images ({files.layout}); checking them before the first step")
    # Ctrl-C and SIGTERM end it at once: there is nothing to save yet
    with waiting(stderr_console(), "reading images"), _telling_lack_of_memory(config):
        run, task = prepare(config, files, directory, resume=resume, device=computes_on, began=began)
    with stop_on_signals() as stopped, display(config) as show, _telling_lack_of_memory(config):
        ended = proceed(run, task, on_step=show, stopped=stopped)
    if not ended:
        print_error(f"stopped; --resume continues the run in {directory}")
        raise typer.Exit(stopped.exit_status)
    print_line(f"best weights: {directory / CHECKPOINT}")
    print_line(f"log: {directory / LOG}, curve: {directory / CURVE}")
    print_line(f"next: cxr-export {model} --weights {directory.parent}")


@contextmanager
def _telling_lack_of_memory(config: TrainConfig) -> Iterator[None]:
    """Raise UsageError if Python or torch runs out of memory, on the CPU or the GPU."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in NO_MEMORY):
            raise UsageError(
                f"{config.model}: not enough memory for --batch {config.batch}; use a smaller --batch"
            ) from error
        raise


def _begun(directory: Path) -> TrainConfig:
    """Return the configuration of the run to resume."""
    from cxr_train.loop import saved_config

    return saved_config(directory)


def _check(config: TrainConfig) -> None:
    for name in ("seed", "workers"):
        if getattr(config, name) < 0:
            raise UsageError(f"--{name} {getattr(config, name)} is negative; use 0 or more")
    for name in (
        *("steps", "batch", "crop", "learning_rate", "minutes", "size"),
        *("validate_every", "validate_images"),
    ):
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} {value} is invalid; use a finite number above 0")
    if config.crop < LEAST_CROP:
        raise UsageError(f"--crop {config.crop} px is too small for markers and lines; use {LEAST_CROP} or more")


app.command("evaluate")(evaluate_command)


def main() -> None:
    for package in ("safetensors", "torch"):
        if importlib.util.find_spec(package) is None:
            print_error(missing_package(package, install_command("train")))
            sys.exit(WRONG_USAGE)
    app()
