"""The command line: parses, calls the library, draws.

Results go to stdout, progress and problems to stderr. Exit status: 0 all done, 1 some files failed or are in the way of
a result, or a report could not be written, 2 wrong usage or an unusable model, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_infer import __version__
from cxr_infer.cli.exit_status import SOME_FAILED, print_error, reports_errors
from cxr_infer.cli.options import (
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
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="Directory of X-rays, read with its subdirectories, or s3://, gs://, az://."),
    ],
    out: Annotated[
        str | None, typer.Option(help="Where results go, in the same tree; a path or URL. Default: IN-denoised.")
    ] = None,
    model: ModelOption = "window",
    reference: Annotated[Path | None, typer.Option(help="Directory of clean images under the same names.")] = None,
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
        bool, typer.Option("--follow-links", help="Also read files outside IN to which links in it lead.")
    ] = False,
    overwrite: OverwriteOption = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do share I of N only; the same --out for all of them.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: on all machines of a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto, or ray://HOST:10001. Default: one on this machine alone.")
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write everything to this .json file, or to a .jsonl as it happens."),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--report", help="Write a page of everything, with before and after, to this .html file."),
    ] = None,
    report_limit: Annotated[
        int, typer.Option(help="Images that the page shows; of more, half are the worst and half drawn by lot.")
    ] = REPORT_LIMIT,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only problems and the exit status.")] = False,
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
    results = open_storage(out if out is not None else default_output(source))
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
    summary, shown = Summary(), terminal.Shown()
    result = pipeline.denoise_file(job, loaded, settings, reading)
    summary.add(result)
    shown.add(result)
    terminal.print_results(shown, summary, f"{loaded.title}: {target}")
    if result.message:
        terminal.print_note(f"note: {source}: {result.message}")


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
    if name != "local":
        raise UsageError(f"unknown engine {name!r}; use local or ray")
    if address is not None:
        raise UsageError("--address is the address of a Ray cluster; add --engine ray")
    return contextlib.nullcontext()


for _name, _command in SMALL_COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    warnings.simplefilter("ignore")  # Pillow's, of damaged headers; what matters becomes an error of ours
    keep_streams_ours()
    spare_addresses()
    with exit_despite_work():
        app()
