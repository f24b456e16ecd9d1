"""The commands beside `dir` and `file`: models, compare, sample, web. Like those, they parse, call and draw."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cxr_infer.cli.exit_status import WRONG_USAGE, reports_errors
from cxr_infer.cli.options import (
    InvertOption,
    MaxPixelsOption,
    OverwriteOption,
    Precision,
    RepairOption,
    ThreadsOption,
    WhiteOption,
    complete_model,
)
from cxr_infer.errors import UsageError
from cxr_infer.report.text import print_error
from cxr_infer.settings import MAX_PIXELS, WEB_PORT


@reports_errors
def models_command(
    verify: Annotated[bool, typer.Option("--verify", help="Check their hashes and run their test tensors.")] = False,
    path_of: Annotated[
        str | None,
        typer.Option(
            "--path",
            metavar="MODEL",
            help="Only print where the .onnx file of this model is.",
            autocompletion=complete_model,
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="Of the file for --path; auto: the one that this CPU would take. Default: fp32."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known of them as JSON.")] = False,
) -> None:
    """List the models that are installed."""
    from cxr_infer.model.installed import installed_models, model_path
    from cxr_infer.report import terminal

    if sum((verify, path_of is not None, as_json)) > 1:
        raise UsageError("--verify, --path and --json are three answers; ask for one")
    if path_of is not None:
        chosen = precision or ("auto" if path_of.lower().endswith(".onnx") else "fp32")
        sys.stdout.write(f"{model_path(path_of, chosen).resolve()}\n")
        return
    if as_json:
        records = [dataclasses.asdict(model) | {"path": str(model.path)} for model in installed_models()]
        sys.stdout.write(json.dumps(records, indent=1) + "\n")
        return
    if verify:
        from cxr_infer.model.verify import verify_models

        found = verify_models()
        terminal.print_verified(found)
        problems = [one.problem for one in found if one.problem]
        for problem in problems:
            print_error(problem)
        raise typer.Exit(WRONG_USAGE if problems else 0)
    models = installed_models()
    rows = [
        [
            m.name,
            m.precision,
            f"{m.bytes / 1e6:.1f} MB",
            m.sha256[:16],
            "yes" if m.intact else "NO: reinstall",
            str(m.path),
        ]
        for m in models
    ]
    headings = ("model", "precision", "size", "sha256", "intact", "file")
    terminal.print_table("installed models", headings, rows, dropped=("size", "sha256"), names=("file",))
    for name, purpose in {m.name: m.purpose for m in models}.items():
        terminal.print_line(f"{name}: {purpose}")


@reports_errors
def compare_command(
    clean: Annotated[Path, typer.Argument(metavar="CLEAN", help="The clean X-ray.")],
    noisy: Annotated[Path, typer.Argument(metavar="NOISY", help="The same X-ray with mottle, of the same size.")],
    out: Annotated[Path, typer.Option(help="Where the figure goes, a .png.")] = Path("comparison.png"),
    repair_wrapped: RepairOption = False,
    threads: ThreadsOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    white: WhiteOption = None,
    invert: InvertOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw clean, noisy and every model's result side by side, with their figures and a zoomed inset."""
    from cxr_infer.cli import compare
    from cxr_infer.report import terminal
    from cxr_infer.settings import ReadOptions

    reading = ReadOptions(max_pixels, white, invert)
    comparison, notes = compare.compare_files(
        clean, noisy, out, reading, repair_wrapped=repair_wrapped, threads=threads, overwrite=overwrite
    )
    for note in dict.fromkeys(notes):  # once, where CLEAN and NOISY are one file
        terminal.print_note(f"note: {note}")
    rows = [[row.name, f"{row.psnr:.2f}", f"{row.ssim:.4f}", terminal.small_figure(row.mse)] for row in comparison]
    terminal.print_table(f"{noisy} against {clean}", ("image", "PSNR dB", "SSIM", "MSE"), rows)
    terminal.print_line(f"the figure is {out}")


@reports_errors
def sample_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the noisy phantoms go.")],
    size: Annotated[int, typer.Option(help="Side of the images in px.")] = 512,
    seed: Annotated[int, typer.Option(help="Seed of the first phantom's anatomy and mottle.")] = 1,
    dose: Annotated[float | None, typer.Option(help="Photons at white. Default: 20 to 600, a phantom each.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write chest phantoms with mottle to DIR, and their clean references to DIR-clean."""
    from cxr_infer.cli.sample import write_samples
    from cxr_infer.report import terminal

    samples = write_samples(directory, size=size, seed=seed, dose=dose, overwrite=overwrite)
    terminal.print_line(
        f"{len(samples.names)} noisy phantoms are in {samples.noisy}, their clean references in {samples.clean}"
    )
    terminal.print_line(f"try: cxr-infer dir {samples.noisy} --model window --reference {samples.clean}")


@reports_errors
def web_command(
    port: Annotated[int, typer.Option(help="Port on this machine's loopback; 0 for any that is free.")] = WEB_PORT,
    wasm: Annotated[
        Path | None,
        typer.Option(
            help="onnxruntime-web as `npm pack` fetches it, a .tgz, or a folder with its files. "
            "Default: the .tgz or node_modules in the current directory."
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Serve the page that denoises in a browser, to this machine only."""
    from cxr_infer.report import terminal
    from cxr_infer.web import server

    runtime = server.needed_runtime()
    files = server.served_files(server.read_runtime(runtime, wasm, Path.cwd()))

    def announce(address: str) -> None:
        terminal.print_line(f"{address}  (Ctrl-C ends it)")
        sys.stdout.flush()  # whoever reads it through a pipe waits for it

    server.serve(server.PageServer(files, port), announce, open_browser=not no_browser)
    terminal.print_line("stopped")


SMALL_COMMANDS: dict[str, Callable[..., None]] = {
    "models": models_command,
    "compare": compare_command,
    "sample": sample_command,
    "web": web_command,
}
