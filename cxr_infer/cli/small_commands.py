"""The commands models, compare, sample and web, and the table of all commands other than `dir` and `file`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_infer.cli.exit_status import WRONG_USAGE, reports_errors
from cxr_infer.cli.lab_command import lab_command
from cxr_infer.cli.node_command import node_command
from cxr_infer.cli.options import (
    InvertOption,
    MaxPixelsOption,
    OverwriteOption,
    Precision,
    PrecisionOption,
    RepairOption,
    ThreadsOption,
    WhiteOption,
    complete_model,
)
from cxr_infer.errors import UsageError
from cxr_infer.report.text import print_error
from cxr_infer.settings import FIGURE_DPI, MAX_PIXELS, WEB_PORT

if TYPE_CHECKING:
    from cxr_infer.model.installed import InstalledModel


@reports_errors
def models_command(
    verify: Annotated[bool, typer.Option("--verify", help="Check hashes and run the test tensors.")] = False,
    path_of: Annotated[
        str | None,
        typer.Option(
            "--path",
            metavar="MODEL",
            help="Print only the path of this model's .onnx file; noise_level: the network that estimates the noise.",
            autocompletion=complete_model,
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="Precision of that file; auto: the one used on this CPU. Default: fp32."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all details as JSON.")] = False,
) -> None:
    """List the installed models."""
    from cxr_infer.model.card import NOISE_LEVEL, NOISE_LEVEL_FILE, weights_directory
    from cxr_infer.model.installed import installed_models, model_path, noise_estimate
    from cxr_infer.report import terminal

    if sum((verify, path_of is not None, as_json)) > 1:
        raise UsageError("--verify, --path and --json exclude each other; give only one of these options")
    if path_of == NOISE_LEVEL:
        sys.stdout.write(f"{(weights_directory() / NOISE_LEVEL_FILE).resolve()}\n")
        return
    if path_of is not None:
        chosen = precision or ("auto" if path_of.lower().endswith(".onnx") else "fp32")
        sys.stdout.write(f"{model_path(path_of, chosen).resolve()}\n")
        return
    if verify:
        from cxr_infer.model.verify import verify_models

        found = verify_models()
        terminal.print_verified(found)
        problems = [one.problem for one in found if one.problem]
        for problem in problems:
            print_error(problem)
        raise typer.Exit(WRONG_USAGE if problems else 0)
    estimate = noise_estimate()
    models = [*installed_models(), *([] if estimate is None else [estimate])]
    if as_json:
        records = [dataclasses.asdict(model) | {"path": str(model.path)} for model in models]
        sys.stdout.write(json.dumps(records, indent=1) + "\n")
    else:
        _print_models(models)


def _print_models(models: Sequence[InstalledModel]) -> None:
    from cxr_infer.report import terminal

    rows = [
        [
            m.name,
            m.precision,
            f"{m.bytes / 1e6:.2g} MB",
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


CropOption = Annotated[
    str | None,
    typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="Draw only this part, in px; measurements are of the whole image."),
]


@reports_errors
def compare_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="CLEAN NOISY ...",
            help="A clean X-ray and the same with mottle, of equal size; each further pair adds a row.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Path of the figure: .png, .pdf or .svg.")] = Path("comparison.png"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="window, original, new, or an .onnx file. May be repeated; each adds a column.",
        ),
    ] = None,
    precision: PrecisionOption = "auto",
    crop: CropOption = None,
    dpi: Annotated[int, typer.Option(help="Pixels per inch; a panel is 2.8 inches wide.")] = FIGURE_DPI,
    light: Annotated[bool, typer.Option("--light", help="Dark text on white, for print.")] = False,
    repair_wrapped: RepairOption = False,
    threads: ThreadsOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    white: WhiteOption = None,
    invert: InvertOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw noisy, denoised and clean images side by side, with measurements and a zoomed inset, for a paper."""
    from cxr_infer.cli import compare
    from cxr_infer.report import terminal
    from cxr_infer.settings import ReadOptions

    if len(files) % 2:
        raise UsageError(f"{files[-1]}: has no counterpart; give pairs: a clean image, then the noisy one")
    reading = ReadOptions(max_pixels, white, invert)
    look = compare.FigureLook(dpi, light, compare.parse_crop(crop) if crop is not None else None)
    comparison, notes = compare.compare_files(
        list(zip(files[::2], files[1::2], strict=True)),
        out,
        reading,
        models=model or ["window"],
        precision=precision,
        look=look,
        repair_wrapped=repair_wrapped,
        threads=threads,
        overwrite=overwrite,
    )
    for note in dict.fromkeys(notes):  # once, even if CLEAN and NOISY are the same file
        terminal.print_note(f"note: {note}")
    for pair, rows in groupby(comparison, lambda row: row.pair):
        cells = [[row.name, f"{row.psnr:.2f}", f"{row.ssim:.4f}", terminal.small_figure(row.mse)] for row in rows]
        terminal.print_table(pair, ("image", "PSNR dB", "SSIM", "MSE"), cells)
    terminal.print_line(f"figure written to {out}")


@reports_errors
def sample_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory for the noisy phantoms.")],
    size: Annotated[int, typer.Option(help="Side of the images in px.")] = 512,
    seed: Annotated[int, typer.Option(help="Seed of the first phantom's anatomy and mottle.")] = 1,
    dose: Annotated[
        float | None, typer.Option(help="Dose in photons at white. Default: 20 to 600, one dose per phantom.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write chest phantoms with mottle to DIR, and their clean references to DIR-clean."""
    from cxr_infer.batch.sample import write_samples
    from cxr_infer.report import terminal

    samples = write_samples(directory, size=size, seed=seed, dose=dose, overwrite=overwrite)
    terminal.print_line(
        f"{len(samples.names)} noisy phantoms are in {samples.noisy}, their clean references in {samples.clean}"
    )
    terminal.print_line(f"try: cxr-infer dir {samples.noisy} --model window --reference {samples.clean}")


@reports_errors
def web_command(
    port: Annotated[int, typer.Option(help="Port on this machine's loopback address; 0 for any free port.")] = WEB_PORT,
    wasm: Annotated[
        Path | None,
        typer.Option(
            help="onnxruntime-web: the .tgz of `npm pack`, or a folder with its files. "
            "Default: the .tgz or node_modules in the current directory."
        ),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="First download the .tgz from the npm registry if it is missing (33 MB)."),
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Serve a web page that denoises in the browser, on this machine only."""
    from cxr_infer.report import terminal
    from cxr_infer.web import server
    from cxr_infer.web.fetch import archive_url, fetch_runtime

    runtime = server.needed_runtime()
    if fetch and wasm is None and not Path(runtime.archive).exists():
        terminal.print_note(f"downloading {archive_url(runtime)}")
        terminal.print_note(f"downloaded {fetch_runtime(runtime, Path.cwd()).name}; its SHA-256 is correct")
    files = server.served_files(server.read_runtime(runtime, wasm, Path.cwd()))

    def announce(address: str) -> None:
        terminal.print_line(f"{address}  (press Ctrl-C to stop)")
        sys.stdout.flush()  # readers of a pipe wait for it

    server.serve(server.PageServer(files, port), announce, open_browser=not no_browser)
    terminal.print_line("stopped")


SMALL_COMMANDS: dict[str, Callable[..., None]] = {
    "models": models_command,
    "compare": compare_command,
    "sample": sample_command,
    "lab": lab_command,
    "web": web_command,
    "node": node_command,
}
