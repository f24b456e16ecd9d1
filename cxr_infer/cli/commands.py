"""The command line: parses, calls the library, draws.

Results go to stdout, progress and problems to stderr. Exit status: 0 all done, 1 some files failed or are in the way of
a result, or a report could not be written, 2 wrong usage or an unusable model, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxr_infer import __version__
from cxr_infer.cli.exit_status import SOME_FAILED, print_error, reports_errors
from cxr_infer.cli.file_command import FileCommand, file_command
from cxr_infer.cli.natural import NaturalGroup
from cxr_infer.cli.options import (
    ADVANCED,
    BASIC,
    MACHINES,
    MEASURE,
    CompressOption,
    DeidentifyOption,
    InvertOption,
    MaxPixelsOption,
    MemoryOption,
    ModelOption,
    OverlapOption,
    OverwriteOption,
    PrecisionOption,
    RepairOption,
    StrengthOption,
    ThreadsOption,
    WhiteOption,
    WindowOption,
)
from cxr_infer.cli.small_commands import SMALL_COMMANDS
from cxr_infer.cli.streams import keep_streams_ours
from cxr_infer.model.address_space import spare_addresses
from cxr_infer.model.attempts import exit_despite_work
from cxr_infer.settings import DEFAULT_MEMORY, MAX_PIXELS, NONE, REPORT_LIMIT

if TYPE_CHECKING:
    from cxr_infer.batch.pipeline import Engine

PURPOSE = "Remove quantum mottle from chest X-rays. Research use only: not for diagnosis or any clinical decision."
EXAMPLES = """Examples:

cxr-infer ./xrays  [dim]# a directory, into ./xrays-denoised[/dim]

cxr-infer ./xrays ./out --reference ./clean --report r.html  [dim]# measured[/dim]

cxr-infer in.dcm out.dcm  [dim]# one X-ray[/dim]"""

app = typer.Typer(
    name="cxr-infer",
    cls=NaturalGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"{PURPOSE}\n\nWithout a command, a directory is denoised as by dir, a file as by file.",
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
    """What stands before a command."""


@app.command("dir", epilog=EXAMPLES)
@reports_errors
def dir_command(
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="Directory of X-rays, read with its subdirectories, or s3://, gs://, az://."),
    ],
    target: Annotated[str | None, typer.Argument(metavar="OUT", help="The same as --out.")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Where results go, in the same tree; a path or URL. Default: IN-denoised.",
            rich_help_panel=BASIC,
        ),
    ] = None,
    model: ModelOption = "window",
    reference: Annotated[
        Path | None, typer.Option(help="Directory of clean images under the same names.", rich_help_panel=MEASURE)
    ] = None,
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
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links", help="Also read files outside IN to which links in it lead.", rich_help_panel=ADVANCED
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Do share I of N only; the same --out for all of them.", rich_help_panel=MACHINES
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: on all machines of a Ray cluster.", rich_help_panel=MACHINES),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster: auto, or ray://HOST:10001. Default: one on this machine alone.", rich_help_panel=MACHINES
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write everything to this .json file, or to a .jsonl as it happens.", rich_help_panel=MEASURE
        ),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Write a page of everything, with before and after, to this .html file.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    report_limit: Annotated[
        int,
        typer.Option(
            help="Images that the page shows; of more, half are the worst and half drawn by lot.",
            rich_help_panel=MEASURE,
        ),
    ] = REPORT_LIMIT,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only problems and the exit status.", rich_help_panel=BASIC)
    ] = False,
) -> None:
    """Denoise a whole directory of X-rays. Originals are never touched."""
    from cxr_infer.batch import jobs, pipeline
    from cxr_infer.batch.references import require_references
    from cxr_infer.cli.interrupts import stop_on_signals
    from cxr_infer.cli.progress import progress_over
    from cxr_infer.cli.report_files import JSON_SUFFIXES, PAGE_SUFFIXES, check_report
    from cxr_infer.files import require_directory
    from cxr_infer.formats.radiograph import check_deidentify
    from cxr_infer.model.denoiser import load_model
    from cxr_infer.report import terminal
    from cxr_infer.report.json_file import describe_run
    from cxr_infer.report.reports import Reports
    from cxr_infer.report.results import Summary
    from cxr_infer.settings import ReadOptions, Settings
    from cxr_infer.storage.protocols import default_output, open_storage
    from cxr_infer.storage.shard import parse_shard

    check_deidentify(deidentify)
    chosen = _engine(engine, address, threads, html_file)
    share = parse_shard(shard) if shard is not None else None
    originals = open_storage(source, follow_links=follow_links)
    results = open_storage(_one_of(out, target) or default_output(source))
    if reference is not None:
        require_directory(reference, "give --reference the directory of the clean images")
    settings = Settings(strength, window, overlap, repair_wrapped, memory, compress)
    reading = ReadOptions(max_pixels, white, invert)
    planned = jobs.make_plan(originals, results, shard=share)
    if reference is not None and share is None:  # a share may be so small that it has none
        require_references(planned.names, reference)
    loaded = load_model(model, precision=precision, threads=threads)
    loaded.check(settings)
    if json_file is not None:
        check_report(json_file, planned, "--json", JSON_SUFFIXES, overwrite=overwrite)
    if html_file is not None:
        check_report(html_file, planned, "--report", PAGE_SUFFIXES, overwrite=overwrite)
    total = len(planned.names) + len(planned.problems) + len(planned.ignored)
    with (
        stop_on_signals() as stopped,
        chosen as worked_by,  # before a report is begun
        Reports(json_file, html_file, report_limit, len(planned.names), print_error) as reports,
    ):
        summary, shown = Summary(), terminal.Shown()
        with progress_over(total, "denoising", quiet) as advance:
            for result in pipeline.denoise_files(
                planned,
                loaded,
                settings,
                reading,
                reference=reference,
                overwrite=overwrite,
                measure_finished=not quiet or reports.wanted,
                show=reports.show if html_file else None,
                stopped=stopped,
                engine=worked_by,
            ):
                for collect in (summary.add, shown.add, advance, reports.add):
                    collect(result)
        if reports.wanted:  # before drawing: nothing that happens to the terminal may lose it
            head = describe_run(loaded, settings, reading, originals.shown, results.shown)
            folders = [originals.shown, results.shown, str(loaded.path.parent)] + [str(reference)] * bool(reference)
            reports.write(head, tuple(folders), summary, measured=reference is not None, interrupted=stopped())
        if not quiet:
            terminal.print_results(shown, summary, f"{loaded.title} on {originals.shown}")
            terminal.print_line(f"results are in {results.shown}")
    if shown.cut_short:
        terminal.print_note(f"done again in {results.shown}, having been cut short: {shown.cut_short}")
    if shown.in_the_way:
        kept = f"kept in {results.shown}, not written by cxr-infer or changed since"
        print_error(f"{kept}: {shown.in_the_way}; --overwrite replaces them")
    if summary.pending and not stopped():
        print_error(f"stopped, because {results.shown} can take no more; mend that, and the same command does the rest")
    if stopped():
        print_error("interrupted; the same command does the rest")
        raise typer.Exit(stopped.exit_status)
    unmeasured = reference is not None and share is None and shown.listed > 0 and not summary.count("psnr")
    if unmeasured:
        print_error(f"{reference}: no image could be measured against it; the notes on them say why")
    if summary.failed or summary.in_the_way or reports.failed or unmeasured:
        raise typer.Exit(SOME_FAILED)


def _one_of(out: str | None, target: str | None) -> str | None:
    """OUT, however it was given. Raises UsageError where it was given twice."""
    from cxr_infer.errors import UsageError

    if out is not None and target is not None and out != target:
        raise UsageError(f"results cannot go to both {target} and {out}; give OUT or --out")
    return target if out is None else out


def _engine(
    name: str, address: str | None, threads: int | None, html_file: Path | None
) -> contextlib.AbstractContextManager[Engine | None]:
    """What does the work, to be connected; None for this process. Raises UsageError for what there is not."""
    from cxr_infer.errors import UsageError

    if name == "ray":
        if html_file is not None:
            raise UsageError("--report needs the pictures, which stay where they are with --engine ray; use --json")
        from cxr_infer.batch.ray_engine import on_ray

        return on_ray(address, threads)
    if address is not None:
        raise UsageError("--address is the address of a Ray cluster; add --engine ray")
    return contextlib.nullcontext()


app.command("file", cls=FileCommand)(file_command)
for _name, _command in SMALL_COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    warnings.simplefilter("ignore")  # Pillow's, of damaged headers; what matters becomes an error of ours
    keep_streams_ours()
    spare_addresses()
    with exit_despite_work():
        app()
