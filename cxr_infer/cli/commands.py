"""The command line: parses, calls the library, draws.

Results go to stdout, progress and problems to stderr; `exit_status` lists the exit statuses.
"""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from cxr_infer.address_space import spare_addresses
from cxr_infer.cli.exit_status import reports_errors
from cxr_infer.cli.file_command import FileCommand, file_command
from cxr_infer.cli.natural import NaturalGroup
from cxr_infer.cli.options import (
    AddressOption,
    CompressOption,
    CsvOption,
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
    TargetArgument,
    ThreadsOption,
    WatchOption,
    WhiteOption,
    WindowOption,
)
from cxr_infer.cli.process import guard_streams
from cxr_infer.cli.small_commands import SMALL_COMMANDS
from cxr_infer.model.attempts import exit_despite_work
from cxr_infer.settings import DEFAULT_MEMORY, MAX_PIXELS, NONE, REPORT_LIMIT
from cxr_infer.version import __version__

PURPOSE = "Remove quantum mottle from chest X-rays. Research use only: not for diagnosis or any clinical decision."
EXAMPLES = """Examples:

cxr-infer ./xrays  [dim]# a directory, into ./xrays-denoised[/dim]

cxr-infer ./xrays ./out --reference ./clean --report r.html  [dim]# with a report[/dim]

cxr-infer in.dcm out.dcm  [dim]# one X-ray[/dim]"""

app = typer.Typer(
    name="cxr-infer",
    cls=NaturalGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"{PURPOSE}\n\nWithout a command, cxr-infer PATH runs dir for a directory and file for a file.",
    epilog=EXAMPLES,
    rich_markup_mode="rich",
    subcommand_metavar="COMMAND ... | PATH [OUT]",
)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cxr-infer {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", help="Print the version and exit.", is_eager=True, callback=print_version),
    ] = False,
) -> None:
    """Options before a command."""


@app.command("dir", epilog=EXAMPLES)
@reports_errors
def dir_command(
    source: SourceArgument,
    target: TargetArgument = None,
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
    csv_file: CsvOption = None,
    html_file: ReportOption = None,
    report_limit: ReportLimitOption = REPORT_LIMIT,
    watch: WatchOption = False,
    quiet: QuietOption = False,
) -> None:
    """Denoise a whole directory of X-rays. Originals are never touched."""
    from cxr_infer.cli.directory import DirectoryOptions, denoise_directory, one_of
    from cxr_infer.formats.radiograph import check_deidentify
    from cxr_infer.report.reports import ReportFiles
    from cxr_infer.settings import ReadOptions, Settings

    check_deidentify(deidentify)
    denoise_directory(
        DirectoryOptions(
            source=source,
            out=one_of(out, target),
            model=model,
            precision=precision,
            threads=threads,
            reference=reference,
            follow_links=follow_links,
            overwrite=overwrite,
            shard=shard,
            engine=engine,
            address=address,
            files=ReportFiles(json_file, html_file, csv_file),
            report_limit=report_limit,
            watch=watch,
            quiet=quiet,
        ),
        Settings(strength, window, overlap, repair_wrapped, memory, compress),
        ReadOptions(max_pixels, white, invert),
    )


app.command("file", cls=FileCommand)(file_command)
for _name, _command in SMALL_COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    warnings.simplefilter("ignore")  # Pillow warns about damaged headers; real problems raise our own errors
    guard_streams()
    spare_addresses()
    with exit_despite_work():
        app()
