"""The command line of the export stage: `cxr-export NAME` or `cxr-export --all`."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cxr_infer.cli.bars import waiting
from cxr_infer.cli.exit_status import SOME_FAILED, WRONG_USAGE, reports_errors
from cxr_infer.errors import CxrError, UsageError
from cxr_infer.extras import install_command, missing_package
from cxr_infer.model.card import MODEL_NAMES, NOISE_LEVEL_FILE, weights_directory
from cxr_infer.model.manifest import MANIFEST
from cxr_infer.report.terminal import print_line, print_table, stderr_console
from cxr_infer.report.text import print_error

app = typer.Typer(name="cxr-export", pretty_exceptions_show_locals=False)


@app.command()
@reports_errors
def export(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help=", ".join(MODEL_NAMES))] = None,
    every: Annotated[bool, typer.Option("--all", help="Export all three models.")] = False,
    describe_only: Annotated[
        bool, typer.Option("--describe", help="Only rewrite what describes the existing ONNX files.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Directory with NAME/checkpoint.safetensors. Default: the shipped weights.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Verify int8 on the validation split of these X-rays. Default: on phantoms.")
    ] = None,
) -> None:
    """Export checkpoints as ONNX files with cards; each is verified before it replaces the old one.

    float32 is compared with torch, int8 (`window` only) with float32. Then follows what other programs need: the noise
    estimate, test tensors, BioImage.IO descriptions and the manifest.
    """
    folder = weights if weights is not None else weights_directory()
    if describe_only and (names or every or data is not None):
        raise UsageError("--describe covers all exported models; use it alone or with --weights")
    chosen = [] if describe_only else _chosen(names or [], every)
    from cxr_export.describe import describe  # slow to import; report wrong options first

    failed = _export_all(chosen, folder, data) if chosen else 0
    with waiting(stderr_console(), "describing what was exported"):
        described = describe(folder)  # also after a failure, which may have removed an int8 file
    if described:
        print_line(f"described in {folder / MANIFEST}: {', '.join(described)}")
        if (folder / NOISE_LEVEL_FILE).is_file():
            print_line(f"noise estimate: {folder / NOISE_LEVEL_FILE}")
    elif describe_only:
        raise UsageError(f"{folder}: no exported model in it; run cxr-export --all")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _chosen(names: list[str], every: bool) -> list[str]:
    if every == bool(names):
        raise UsageError("name the models to export, or use --all for all three")
    unknown = next((name for name in names if name not in MODEL_NAMES), None)
    if unknown is not None:
        raise UsageError(f"unknown model {unknown!r}; use {', '.join(MODEL_NAMES)}")
    return list(MODEL_NAMES) if every else names


def _export_all(names: list[str], weights: Path, data: Path | None) -> int:
    """Export each model, print the table, return the number of failures."""
    from cxr_export.export import export_int8, export_model

    rows, failed = [], 0
    for name in names:
        for export in (partial(export_model, name, weights), partial(export_int8, name, weights, data)):
            try:
                with waiting(stderr_console(), f"exporting {name}"):
                    done = export()
            except CxrError as error:
                print_error(str(error))
                rows.append([name, "", "", "", "failed"])
                failed += 1
                break
            if done is not None:
                size = f"{done.path.stat().st_size:,}"
                rows.append([name, done.precision, size, str(done.opset), done.proof])
    print_table(f"exported in {weights}", ("model", "precision", "bytes", "opset", "proof"), rows)
    return failed


def main() -> None:
    for package in ("onnx", "onnxscript", "torch", "yaml"):
        if importlib.util.find_spec(package) is None:
            print_error(missing_package(package, install_command("export")))
            sys.exit(WRONG_USAGE)
    app()
