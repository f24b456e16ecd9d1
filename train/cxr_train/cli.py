"""The command line of the training stage: `cxr-train MODEL --data DIR`, `cxr-train evaluate --data DIR`."""

# Annotations are no texts here, but made where a command is: the help of its options holds the defaults of its model.

import dataclasses
import importlib.util
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cxr_infer.cli.bars import waiting
from cxr_infer.cli.exit_status import WRONG_USAGE, reports_errors
from cxr_infer.cli.process import stop_on_signals
from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command
from cxr_infer.model.card import MODEL_NAMES, weights_directory
from cxr_infer.report.terminal import print_line, print_table, small_figure, stderr_console
from cxr_infer.report.text import print_error
from cxr_train.config import CHECKPOINT, DEFAULTS, STATE_FILE, TrainConfig

if TYPE_CHECKING:
    from cxr_train.evaluate import Score

LEAST_CROP = 32  # px
DEVICES = re.compile(r"cpu|cuda(:\d+)?")
WINDOW = DEFAULTS["window"]
NO_MEMORY = ("allocate memory", "out of memory", "not enough memory")  # as torch says it

EXAMPLES = """Examples:

cxr-train window --data ./clean --minutes 60  [dim]# one model, for an hour[/dim]

cxr-train window --data ./clean --resume  [dim]# goes on with it[/dim]

cxr-train --all --data ./clean  [dim]# all three models[/dim]"""


class TrainGroup(TyperGroup):
    """Commands, of which `--all` is one, so that it reads like `cxr-export --all`."""

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
    "All models take the same options, --minutes, --resume and --device among them; cxr-train window --help shows them "
    "with their defaults.",
    epilog=EXAMPLES,
    rich_markup_mode="rich",
)

DataOption = Annotated[Path, typer.Option("--data", help="Directory of clean chest X-rays, split by patient.")]


@app.callback()
def options(
    every: Annotated[
        bool, typer.Option("--all", help="Train all three models; takes the options of one: cxr-train all --help.")
    ] = False,
) -> None:
    """What stands before a command."""


def _training_command(name: str | None) -> Callable[..., None]:
    """The command that trains one model, or all three for None."""

    def default(field: str) -> str:
        return f"Default: {_default(field, MODEL_NAMES if name is None else (name,))}."

    @reports_errors
    def command(
        data: DataOption,
        out: Annotated[Path, typer.Option(help="Runs go to OUT/MODEL.")] = Path("runs"),
        steps: Annotated[int | None, typer.Option(help=f"Train for so many steps. {default('steps')}")] = None,
        minutes: Annotated[
            float | None, typer.Option(help="Train for so long instead, per model, validations included.")
        ] = None,
        batch: Annotated[int | None, typer.Option(help=f"Images or crops a step. {default('batch')}")] = None,
        crop: Annotated[
            int | None, typer.Option(help=f"`window`: side of the crops in px. Default: {WINDOW.crop}.")
        ] = None,
        learning_rate: Annotated[
            float | None, typer.Option(help=f"Highest rate; it falls along a cosine. {default('learning_rate')}")
        ] = None,
        seed: Annotated[int | None, typer.Option(help=f"Seed of weights, crops and noise. {default('seed')}")] = None,
        size: Annotated[
            int | None,
            typer.Option(help="`window`: resize images to this side in px first. Default: as they are."),
        ] = None,
        workers: Annotated[
            int | None, typer.Option(help=f"Processes that draw batches, for a GPU. 0: a thread. {default('workers')}")
        ] = None,
        device: Annotated[
            str | None, typer.Option(help="cpu, cuda or cuda:N. Default: cuda where torch finds one, else cpu.")
        ] = None,
        start: Annotated[Path | None, typer.Option(help="Begin from the weights of this checkpoint.")] = None,
        teacher: Annotated[
            Path | None, typer.Option(help="`window`: match the results of this ONNX file beside the clean images.")
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Continue the run in OUT exactly.")] = False,
    ) -> None:
        given = {
            "steps": steps,
            "minutes": minutes,
            "batch": batch,
            "learning_rate": learning_rate,
            "seed": seed,
            "workers": workers,
            "start": start and str(start),
        }
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        for model in MODEL_NAMES if name is None else (name,):
            of_window = {"size": size, "crop": crop, "teacher": teacher and str(teacher)} if model == "window" else {}
            chosen = changes | {key: value for key, value in of_window.items() if value is not None}
            begun = (out / model / STATE_FILE).exists() or name is not None
            train_one(model, data, out / model, chosen, resume=resume and begun, device=device)

    command.__doc__ = f"Train {name or 'all three models'} on a directory of clean chest X-rays."
    if name is not None:
        batches = f"{DEFAULTS[name].batch} {'crops' if name == WINDOW.model else 'images'}"
        command.__doc__ += f" Default: {DEFAULTS[name].steps} steps of {batches}."
    return command


def _default(field: str, models: Iterable[str]) -> str:
    """What these models take where nothing is said."""
    values: dict[str, list[str]] = {}
    for model in models:
        values.setdefault(f"{getattr(DEFAULTS[model], field):g}", []).append(model)
    return (
        next(iter(values)) if len(values) == 1 else ", ".join(f"{v} for {' and '.join(m)}" for v, m in values.items())
    )


for _name in MODEL_NAMES:
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
    """Train one model with a live display. Raises CxrError; typer.Exit(130 or 143) where it was stopped early."""
    from cxr_train.data import find_xrays

    began = time.monotonic()
    base = _begun(directory) if resume else DEFAULTS[model]
    config = dataclasses.replace(base, **changes)
    _check(config)
    if device is not None and not DEVICES.fullmatch(device):
        raise UsageError(f"unknown device {device!r}; use cpu, cuda or cuda:N")
    files = find_xrays(data)
    # these load torch, for which nobody should wait to hear of a wrong option
    from cxr_train.display import display
    from cxr_train.loop import computing_device, prepare, proceed

    computes_on = computing_device(device)
    counts = ", ".join(f"{len(paths)} {split}" for split, paths in files.files.items())
    stderr_console().print(f"{model}: {counts} images ({files.layout}); every image is read before the first step")
    # Ctrl-C and SIGTERM end it at once: there is nothing to be kept yet
    with waiting(stderr_console(), "reading images"), _telling_lack_of_memory(config):
        run, task = prepare(config, files, directory, resume=resume, device=computes_on, began=began)
    with stop_on_signals() as stopped, display(config) as show, _telling_lack_of_memory(config):
        ended = proceed(run, task, on_step=show, stopped=stopped)
    if not ended:
        print_error(f"stopped; --resume continues the run in {directory}")
        raise typer.Exit(stopped.exit_status)
    print_line(f"the best weights are {directory / CHECKPOINT}")
    print_line(f"next: cxr-export {model} --weights {directory.parent}")


@contextmanager
def _telling_lack_of_memory(config: TrainConfig) -> Iterator[None]:
    """Raises UsageError where Python or torch finds no more, on the CPU or the GPU."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in NO_MEMORY):
            raise UsageError(
                f"{config.model}: too little memory for a --batch of {config.batch}; give a smaller one"
            ) from error
        raise


def _begun(directory: Path) -> TrainConfig:
    """The configuration of the run that is to be resumed."""
    from cxr_train.loop import saved_config

    return saved_config(directory)


def _check(config: TrainConfig) -> None:
    for name in ("seed", "workers"):
        if getattr(config, name) < 0:
            raise UsageError(f"--{name} {getattr(config, name)} is negative; use 0 or more")
    for name in ("steps", "batch", "crop", "learning_rate", "minutes", "size"):
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} {value} must be above 0 and finite")
    if config.crop < LEAST_CROP:
        raise UsageError(f"--crop {config.crop} px leaves no room for markers and lines; use {LEAST_CROP} or more")


@app.command("evaluate")
@reports_errors
def evaluate_command(
    data: DataOption,
    weights: Annotated[
        Path | None, typer.Option(help="Directory with MODEL/checkpoint.safetensors. Default: the shipped weights.")
    ] = None,
    images: Annotated[int | None, typer.Option("-n", "--images", help="Only the first so many test images.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this JSON file.")] = None,
) -> None:
    """Print the published comparison on the test split: MSE, PSNR and SSIM of the three models and simple peers."""
    from cxr_infer.files import write_bytes
    from cxr_train.data import find_xrays

    folder = weights if weights is not None else weights_directory()
    if images is not None and images < 1:
        raise UsageError(f"--images {images} is too few; use 1 or more")
    present = [name for name in MODEL_NAMES if (folder / name / CHECKPOINT).exists()]
    if not present:
        raise UsageError(f"{folder}: no MODEL/{CHECKPOINT}; train one with `cxr-train` or give another --weights")
    files = find_xrays(data)
    from cxr_train.checkpoint import load_checkpoint
    from cxr_train.evaluate import evaluate

    models = {name: load_checkpoint(folder / name / CHECKPOINT)[0] for name in present}
    scores: list[Score] = []
    for score in evaluate(files, models, images):
        scores.append(score)
        stderr_console().print(f"{score.noise}: {score.method} {score.psnr:.2f} dB")
    _print_scores(scores)
    if json_file is not None:
        write_bytes(json_file, (json.dumps([dataclasses.asdict(s) for s in scores], indent=1) + "\n").encode())


def _print_scores(scores: "list[Score]") -> None:
    from cxr_train.evaluate import PUBLISHED_MSE

    rows = []
    for score in scores:
        published = PUBLISHED_MSE.get(score.method) if score.noise.startswith("published") else None
        known = f"{published}" if published else ""
        figures = (small_figure(score.mse), f"{score.psnr:.2f}", f"{score.ssim:.4f}", known)
        rows.append([score.noise, score.method, *figures])
    headings = ("noise", "method", "MSE", "PSNR dB", "SSIM", "published MSE")
    print_table("test split at 512x512", headings, rows, dropped=("published MSE", "SSIM"), names=("noise", "method"))


def main() -> None:
    for package in ("safetensors", "torch"):
        if importlib.util.find_spec(package) is None:
            print_error(f"{package} is not installed; run: {install_command('train')}")
            sys.exit(WRONG_USAGE)
    app()
