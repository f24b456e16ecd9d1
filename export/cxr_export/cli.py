"""The command line of the export stage: `cxr-export NAME` or `cxr-export --all`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cxr_infer.errors import CxrError, UsageError
from cxr_infer.exit_status import SOME_FAILED, WRONG_USAGE, print_error, reports_errors
from cxr_infer.model_card import MODEL_NAMES, weights_directory
from cxr_infer.report import print_table

app = typer.Typer(name="cxr-export", pretty_exceptions_show_locals=False)


@app.command()
@reports_errors
def export(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help=", ".join(MODEL_NAMES))] = None,
    every: Annotated[bool, typer.Option("--all", help="Export all three models.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Directory with NAME/checkpoint.safetensors. Default: the shipped weights.")
    ] = None,
) -> None:
    """Turn checkpoints into model.onnx and card.json, each proved against torch before it replaces the old file."""
    failed = _export_all(_chosen(names or [], every), weights if weights is not None else weights_directory())
    if failed:
        raise typer.Exit(SOME_FAILED)


def _chosen(names: list[str], every: bool) -> list[str]:
    if every == bool(names):
        raise UsageError("name the models to export, or use --all for all three")
    unknown = next((name for name in names if name not in MODEL_NAMES), None)
    if unknown is not None:
        raise UsageError(f"unknown model {unknown!r}; use {', '.join(MODEL_NAMES)}")
    return list(MODEL_NAMES) if every else names


def _export_all(names: list[str], weights: Path) -> int:
    """Export each model, print the table, return how many failed."""
    from cxr_export.export import export_model
    from cxr_export.parity import TOLERANCE

    rows, failed = [], 0
    for name in names:
        try:
            done = export_model(name, weights)
        except CxrError as error:
            print_error(str(error))
            rows.append([name, "", "", "", "failed"])
            failed += 1
        else:
            verdict = f"same within {TOLERANCE:.0e} ({done.parity.cases} cases)"
            rows.append([name, f"{done.bytes:,}", str(done.opset), f"{done.parity.largest:.1e}", verdict])
    print_table(f"exported in {weights}", ("model", "bytes", "opset", "largest difference", "verdict"), rows)
    return failed


def main() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        print_error(f"{error.name} is not installed; run: pip install 'cxr-infer[export]'")
        sys.exit(WRONG_USAGE)
    app()
