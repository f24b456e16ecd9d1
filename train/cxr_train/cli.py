"""The command line of the training stage: `cxr-train MODEL --data DIR`, `cxr-train evaluate --data DIR`."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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

app = typer.Typer(name="cxr-train", no_args_is_help=True, pretty_exceptions_show_locals=False, help=__doc__)

DataOption = Annotated[Path, typer.Option("--data", help="Directory of clean chest X-rays, split by patient.")]


def _training_command(name: str | None) -> Callable[..., None]:
    """The command that trains one model, or all three for None."""

    @reports_errors
    def command(
        data: DataOption,
        out: Annotated[Path, typer.Option(help="Runs go to OUT/MODEL.")] = Path("runs"),
        steps: Annotated[int | None, typer.Option(help="Train for so many steps. Default: the model's own.")] = None,
        minutes: Annotated[float | None, typer.Option(help="Train for so long instead, per model.")] = None,
        batch: Annotated[int | None, typer.Option(help="Images or crops a step.")] = None,
        crop: Annotated[int | None, typer.Option(help="`window`: side of the crops in px.")] = None,
        learning_rate: Annotated[float | None, typer.Option(help="Highest rate; it falls along a cosine.")] = None,
        seed: Annotated[int | None, typer.Option(help="Seed of weights, crops and noise.")] = None,
        size: Annotated[int | None, typer.Option(help="`window`: resize images to this side in px first.")] = None,
        workers: Annotated[
            int | None, typer.Option(help="Processes that draw batches, for a GPU. 0: a thread.")
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
            train_one(model, data, out / model, chosen, resume=resume and begun)

    command.__doc__ = f"Train {name or 'all three models'} on a directory of clean chest X-rays."
    return command


for _name in MODEL_NAMES:
    app.command(_name)(_training_command(_name))
app.command("all", hidden=True)(_training_command(None))


def train_one(model: str, data: Path, directory: Path, changes: dict[str, Any], *, resume: bool) -> None:
    """Train one model with a live display. Raises CxrError; typer.Exit(130 or 143) where it was stopped early."""
    from cxr_train.data import find_xrays

    began = time.monotonic()
    base = _begun(directory) if resume else DEFAULTS[model]
    config = dataclasses.replace(base, **changes)
    _check(config)
    files = find_xrays(data)
    # these load torch, for which nobody should wait to hear of a wrong option
    from cxr_train.display import display, waiting
    from cxr_train.loop import prepare, proceed

    counts = ", ".join(f"{len(paths)} {split}" for split, paths in files.files.items())
    stderr_console().print(f"{model}: {counts} images ({files.layout}); every image is read before the first step")
    with waiting("reading images"):  # Ctrl-C and SIGTERM end it at once: there is nothing to be kept yet
        run, task = prepare(config, files, directory, resume=resume, began=began)
    with stop_on_signals() as stopped, display(config) as show:
        ended = proceed(run, task, on_step=show, stopped=stopped)
    if not ended:
        print_error(f"stopped; --resume continues the run in {directory}")
        raise typer.Exit(stopped.exit_status)
    print_line(f"the best weights are {directory / CHECKPOINT}")
    print_line(f"next: cxr-export {model} --weights {directory.parent}")


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


def _print_scores(scores: list[Score]) -> None:
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
    if "--all" in sys.argv:  # `cxr-train --all --data DIR` reads like `cxr-export --all`
        sys.argv.remove("--all")
        sys.argv.insert(1, "all")
    app()
