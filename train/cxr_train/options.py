"""Options of the training commands, each with type, help and default, defined once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cxr_train.evaluate_command import DataOption
from cxr_train.specs import SPECS

WINDOW = SPECS["window"].defaults
NETWORK = {name: value for name, value in SPECS["window"].arguments.items() if isinstance(value, tuple)}

# type and help; {} stands for the default of the command's models
OPTIONS: dict[str, tuple[Any, str]] = {
    "steps": (int, "Number of training steps. {}"),
    "minutes": (float, "Train for this long instead, per model, validations included."),
    "batch": (int, "Images or crops per step. {}"),
    "crop": (int, f"`window`: side of the crops in px. Default: {WINDOW.crop}."),
    "learning_rate": (float, "Peak learning rate; it decays along a cosine. {}"),
    "validate_every": (int, "Steps from one validation to the next. {}"),
    "validate_images": (int, "Images per validation; --minutes may allow fewer. {}"),
    "seed": (int, "Seed of weights, crops and noise. {}"),
    "size": (int, "`window`: first resize images to this side in px. Default: native resolution."),
    "widths": (str, "`window`: channels of its stages, finest first. {}"),
    "encoder_blocks": (str, "`window`: residual blocks per stage on the way down. {}"),
    "decoder_blocks": (str, "`window`: residual blocks per stage on the way up, finest first. {}"),
    "workers": (int, "Processes that prepare batches, for a GPU; 0: a thread. {}"),
    "device": (str, "cpu, cuda or cuda:N. Default: cuda if available, else cpu."),
    "start": (str, "Begin from these weights: a shipped model by name, the folder of a run, a checkpoint."),
    "teacher": (Path, "`window`: learn from the results of this ONNX file as well."),
}


def with_options(command: Callable[..., None], models: Sequence[str]) -> Callable[..., None]:
    """Give a command that takes keyword arguments the training options of these models, in typer's form."""
    path = Annotated[Path, typer.Option(help="Write each run to OUT/MODEL.")]
    resume = Annotated[bool, typer.Option("--resume", help="Continue the run in OUT/MODEL where it stopped.")]
    parameters = [
        _parameter("data", DataOption),
        _parameter("out", path, Path("runs")),
        *(
            _parameter(name, Annotated[kind | None, typer.Option(help=text.format(_default(name, models)))], None)
            for name, (kind, text) in OPTIONS.items()
        ),
        _parameter("resume", resume, False),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _default(option: str, models: Iterable[str]) -> str:
    """Return a sentence with an option's default, per model if they differ; empty if there is none."""
    if option in NETWORK:
        return f"Default: {comma_separated(NETWORK[option])}."
    values: dict[str, list[str]] = {}
    for model in models:
        value = getattr(SPECS[model].defaults, option, None)
        if isinstance(value, int | float):
            values.setdefault(f"{value:g}", []).append(model)
    if len(values) < 2:
        return "".join(f"Default: {value}." for value in values)
    each = ", ".join(f"{value} for {' and '.join(names)}" for value, names in values.items())
    return f"Default: {each}."


def comma_separated(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
