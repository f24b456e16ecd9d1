"""The command line: parses, calls the library, draws.

Results go to stdout, progress and problems to stderr. Exit status: 0 all done, 1 some files failed or are in the way of
a result, or a report could not be written, 2 wrong usage or an unusable model, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from cxr_infer.cli.exit_status import reports_errors
from cxr_infer.cli.options import (
    AddressOption,
    CompressOption,
    DeidentifyOption,
    EngineOption,
    FollowLinksOption,
    InvertOption,
    JsonOption,
    MaxPixelsOption,
    MemoryOption,
    ModelOption,
    OutOption,
    OverlapOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    ReferenceOption,
    RepairOption,
    ReportLimitOption,
    ReportOption,
    ShardOption,
    SourceArgument,
    StrengthOption,
    ThreadsOption,
    WhiteOption,
    WindowOption,
)
from cxr_infer.cli.process import guard_streams
from cxr_infer.cli.small_commands import SMALL_COMMANDS
from cxr_infer.model.address_space import spare_addresses
from cxr_infer.model.attempts import exit_despite_work
from cxr_infer.settings import DEFAULT_MEMORY, MAX_PIXELS, NONE, REPORT_LIMIT
from cxr_infer.version import __version__

app = typer.Typer(
    name="cxr-infer",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Remove quantum mottle from chest X-rays. Research use only: not for diagnosis or any clinical decision.",
)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"cxr-infer {__version__}")
        raise typer.Exit


@app.command("dir")
@reports_errors
def dir_command(
    source: SourceArgument,
    out: OutOption = None,
    model: ModelOption = "window",
    reference: ReferenceOption = None,
    precision: PrecisionOption = "auto",
    strength: StrengthOption = 1.0,
    window: WindowOption = None,
    overlap: OverlapOption = None,
    repair_wrapped: RepairOption = False,
    threads: ThreadsOption = None,
    memory: MemoryOption = DEFAULT_MEMORY,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    white: WhiteOption = None,
    invert: InvertOption = False,
    compress: CompressOption = NONE,
    deidentify: DeidentifyOption = "no",
    follow_links: FollowLinksOption = False,
    overwrite: OverwriteOption = False,
    shard: ShardOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    json_file: JsonOption = None,
    html_file: ReportOption = None,
    report_limit: ReportLimitOption = REPORT_LIMIT,
    quiet: QuietOption = False,
) -> None:
    """Denoise a whole directory of X-rays. Originals are never touched."""
    from cxr_infer.cli.directory import Asked, denoise_directory
    from cxr_infer.formats.radiograph import check_deidentify
    from cxr_infer.settings import ReadOptions, Settings

    check_deidentify(deidentify)
    denoise_directory(
        Asked(
            source=source,
            out=out,
            model=model,
            precision=precision,
            threads=threads,
            reference=reference,
            follow_links=follow_links,
            overwrite=overwrite,
            shard=shard,
            engine=engine,
            address=address,
            json_file=json_file,
            html_file=html_file,
            report_limit=report_limit,
            quiet=quiet,
        ),
        Settings(strength, window, overlap, repair_wrapped, memory, compress),
        ReadOptions(max_pixels, white, invert),
    )


@app.command("file")
@reports_errors
def file_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="One X-ray: DICOM or a picture.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The result: .png, .tif, ... or, of DICOM, .dcm.")],
    model: ModelOption = "window",
    precision: PrecisionOption = "auto",
    strength: StrengthOption = 1.0,
    window: WindowOption = None,
    overlap: OverlapOption = None,
    repair_wrapped: RepairOption = False,
    threads: ThreadsOption = None,
    memory: MemoryOption = DEFAULT_MEMORY,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    white: WhiteOption = None,
    invert: InvertOption = False,
    compress: CompressOption = NONE,
    deidentify: DeidentifyOption = "no",
    overwrite: OverwriteOption = False,
) -> None:
    """Denoise one X-ray."""
    from cxr_infer.batch import jobs, pipeline
    from cxr_infer.formats.radiograph import check_deidentify
    from cxr_infer.model.denoiser import load_model
    from cxr_infer.report import terminal
    from cxr_infer.report.results import Summary
    from cxr_infer.settings import ReadOptions, Settings

    check_deidentify(deidentify)
    settings = Settings(strength, window, overlap, repair_wrapped, memory, compress)
    reading = ReadOptions(max_pixels, white, invert)
    job = jobs.single_job(source, target, overwrite=overwrite)
    loaded = load_model(model, precision=precision, threads=threads)
    summary, shown = Summary(), terminal.ShownResults()
    result = pipeline.denoise_file(job, loaded, settings, reading)
    summary.add(result)
    shown.add(result)
    terminal.print_results(shown, summary, f"{loaded.title}: {target}")
    if result.message:
        terminal.print_note(f"note: {source}: {result.message}")


for _name, _command in SMALL_COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    warnings.simplefilter("ignore")  # Pillow's, of damaged headers; what matters becomes an error of ours
    guard_streams()
    spare_addresses()
    with exit_despite_work():
        app()
