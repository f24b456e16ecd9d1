"""`cxr-train evaluate`: the published comparison as a table, and as JSON or CSV."""

# No `from __future__ import annotations`: typer reads the annotations through `reports_errors`.

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_infer.cli.exit_status import reports_errors
from cxr_infer.errors import UsageError
from cxr_infer.model.card import CHECKPOINT, weights_directory
from cxr_infer.report.terminal import print_table, small_figure, stderr_console
from cxr_train.specs import SPECS

if TYPE_CHECKING:
    from cxr_train.comparison import Score

DataOption = Annotated[Path, typer.Option("--data", help="Directory of clean chest X-rays, split by patient.")]


@reports_errors
def evaluate_command(
    data: DataOption,
    weights: Annotated[
        Path | None, typer.Option(help="Directory with MODEL/checkpoint.safetensors. Default: the shipped weights.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m", "--model", help="Only this model, without the simple methods: window, original or new; repeatable."
        ),
    ] = None,
    images: Annotated[int | None, typer.Option("-n", "--images", help="Use only the first N test images.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this JSON file.")] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write all figures to this CSV file, one row per noise and method.")
    ] = None,
) -> None:
    """Compare models with noisy images and simple methods on the test split: MSE, PSNR and SSIM.

    Models with 8-bit grids are measured in float32 and in int8.
    """
    from cxr_infer.files import write_bytes
    from cxr_train.data import find_xrays

    if images is not None and images < 1:
        raise UsageError(f"--images {images} is too few; use 1 or more")
    chosen = _chosen(weights if weights is not None else weights_directory(), model or [])
    files = find_xrays(data)
    from cxr_train.checkpoint import load_checkpoint
    from cxr_train.comparison import simple_methods
    from cxr_train.evaluate import evaluate, model_methods

    methods = {} if model else simple_methods()
    for name, path in chosen.items():
        methods |= model_methods(name, load_checkpoint(path)[0])
    scores: list[Score] = []
    for score in evaluate(files, methods, images):
        scores.append(score)
        stderr_console().print(f"{score.noise}: {score.method} {score.psnr:.2f} dB")
    _print_scores(scores)
    if json_file is not None:
        write_bytes(json_file, (json.dumps([dataclasses.asdict(s) for s in scores], indent=1) + "\n").encode())
    if csv_file is not None:
        write_bytes(csv_file, _csv(scores))


def _chosen(weights: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the checkpoints of the named models, or of all available ones. Raises UsageError."""
    if unknown := next((name for name in names if name not in SPECS), None):
        raise UsageError(f"unknown model {unknown!r}; use {', '.join(SPECS)}")
    paths = {name: weights / name / CHECKPOINT for name in SPECS if not names or name in names}
    missing = [path for path in paths.values() if not path.exists()]
    if names and missing:
        raise UsageError(f"{missing[0]}: no such checkpoint; train it with cxr-train or give another --weights")
    if len(missing) == len(paths):
        raise UsageError(f"{weights}: no MODEL/{CHECKPOINT}; train one with cxr-train or give another --weights")
    return {name: path for name, path in paths.items() if path not in missing}


def _published(score: "Score") -> float | None:
    """Return the published MSE of a model, if the score is under the published noise."""
    from cxr_train.evaluate import PUBLISHED

    return SPECS[score.method].published_mse if score.noise.startswith(PUBLISHED) and score.method in SPECS else None


def _csv(scores: "Sequence[Score]") -> bytes:
    text = io.StringIO(newline="")
    columns = [field.name for field in dataclasses.fields(scores[0])]
    writer = csv.DictWriter(text, [*columns, "published_mse"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**dataclasses.asdict(score), "published_mse": _published(score)} for score in scores)
    return text.getvalue().encode()


def _print_scores(scores: "Sequence[Score]") -> None:
    rows = []
    for score in scores:
        published = _published(score)
        figures = (small_figure(score.mse), f"{score.psnr:.2f}", f"{score.ssim:.4f}", f"{published or ''}")
        rows.append([score.noise, score.method, *figures])
    headings = ("noise", "method", "MSE", "PSNR dB", "SSIM", "published MSE")
    print_table("test split at 512x512", headings, rows, dropped=("published MSE", "SSIM"), names=("noise", "method"))
