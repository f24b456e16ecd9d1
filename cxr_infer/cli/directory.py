"""The work of `dir`: plan, denoise, write reports, and summarise problems."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import typer

from cxr_infer.batch.directory import plan_directory
from cxr_infer.batch.engine import Engine, LocalEngine, denoise_files
from cxr_infer.batch.jobs import Plan
from cxr_infer.batch.watch import Watching
from cxr_infer.cli.bars import waiting
from cxr_infer.cli.exit_status import SOME_FAILED
from cxr_infer.cli.process import StopRequest, stop_on_signals
from cxr_infer.cli.progress import progress_over
from cxr_infer.cli.report_files import check_reports
from cxr_infer.errors import UsageError
from cxr_infer.model.denoiser import Model, load_model
from cxr_infer.report import terminal
from cxr_infer.report.json_file import describe_run
from cxr_infer.report.reports import ReportFiles, Reports
from cxr_infer.report.results import Summary
from cxr_infer.report.text import print_error
from cxr_infer.settings import REPORT_LIMIT, ReadOptions, Settings
from cxr_infer.storage.urls import without_secrets


@dataclass(frozen=True)
class DirectoryOptions:
    """The options of `dir` other than `Settings` and `ReadOptions`."""

    source: str
    out: str | None
    model: str
    precision: str
    threads: int | None
    reference: Path | None
    follow_links: bool
    overwrite: bool
    shard: str | None
    engine: str
    address: str | None
    files: ReportFiles
    report_limit: int
    watch: bool
    quiet: bool
    began: datetime = field(default_factory=lambda: datetime.now().astimezone())


def denoise_directory(asked: DirectoryOptions, settings: Settings, reading: ReadOptions) -> None:
    """Run `dir`. Raises typer.Exit for a nonzero status; UsageError and ModelError before anything is denoised."""
    engine = _engine(asked)
    plan = _plan(asked)
    model = load_model(asked.model, precision=asked.precision, threads=asked.threads)
    model.check(settings)
    check_reports(asked.files, plan, overwrite=asked.overwrite)
    images = REPORT_LIMIT if asked.watch else len(plan.names)
    total = None if asked.watch else len(plan.names) + len(plan.problems) + len(plan.ignored)
    with (
        stop_on_signals() as stopped,
        Watching(plan.source) if asked.watch else engine as worked_by,  # entered before a report is begun
        Reports(asked.files, asked.report_limit, images, print_error) as reports,
    ):
        results = denoise_files(
            plan,
            model,
            settings,
            reading,
            reference=asked.reference,
            overwrite=asked.overwrite,
            measure_finished=not asked.quiet or reports.wanted,
            show=reports.show if asked.files.page else None,
            stopped=stopped,
            engine=worked_by,
        )
        summary, shown = Summary(), terminal.ShownResults()
        if asked.watch and not asked.quiet:
            terminal.print_note(f"watching {plan.source.shown}, results go to {plan.out.shown}; press Ctrl-C to stop")
        with progress_over(total, "watching" if asked.watch else "denoising", asked.quiet) as seen:
            for result in results:
                for collect in (summary.add, shown.add, seen, reports.add):
                    collect(result)
        if reports.wanted:  # written before drawing, so that a terminal failure cannot lose them
            _write_reports(reports, asked, plan, model, settings, reading, summary, stopped)
        if not asked.quiet:
            terminal.print_results(shown, summary, f"{model.title} on {plan.source.shown}", rate=not asked.watch)
            terminal.print_line(f"results are in {plan.out.shown}")
    _end(asked, plan, shown, summary, reports, stopped)


def one_of(out: str | None, target: str | None) -> str | None:
    """Return OUT from argument or option. Raises UsageError if both are given and differ."""
    if out is not None and target is not None and out != target:
        raise UsageError(f"results cannot go to both {target} and {out}; give OUT or --out")
    return target if out is None else out


def _engine(asked: DirectoryOptions) -> Engine:
    """Return the engine, not yet entered. Raises UsageError for invalid combinations of options."""
    if asked.watch and asked.engine != "local":
        raise UsageError("--watch works on this machine only; omit --engine")
    if asked.engine != "ray" and asked.address is not None:
        raise UsageError("--address is the address of a Ray cluster; add --engine ray")
    engine = _ray(asked) if asked.engine == "ray" else LocalEngine()
    if asked.files.page is not None and not engine.shows:
        raise UsageError(f"--report needs images, which --engine {asked.engine} keeps on its workers; use --json")
    return engine


def _ray(asked: DirectoryOptions) -> Engine:
    from cxr_infer.batch.ray_engine import on_ray

    return on_ray(asked.address, asked.threads)


def _plan(asked: DirectoryOptions) -> Plan:
    with waiting(terminal.stderr_console(), f"listing {without_secrets(asked.source)}"):
        return plan_directory(
            asked.source,
            asked.out,
            reference=asked.reference,
            follow_links=asked.follow_links,
            shard=asked.shard,
            watch=asked.watch,
        )


def _write_reports(
    reports: Reports,
    asked: DirectoryOptions,
    plan: Plan,
    model: Model,
    settings: Settings,
    reading: ReadOptions,
    summary: Summary,
    stopped: StopRequest,
) -> None:
    program, *words = sys.argv
    command = [without_secrets(word) for word in (Path(program).name, *words)]
    head = describe_run(model, settings, reading, plan.source.shown, plan.out.shown, command, asked.began)
    measured = asked.reference is not None
    folders = [plan.source.shown, plan.out.shown, str(model.path.parent)] + [str(asked.reference)] * measured
    reports.write(head, tuple(folders), summary, measured=measured, interrupted=stopped())


def _end(
    asked: DirectoryOptions,
    plan: Plan,
    shown: terminal.ShownResults,
    summary: Summary,
    reports: Reports,
    stopped: StopRequest,
) -> None:
    """Print problems to stderr, and raise typer.Exit for a nonzero status."""
    out = plan.out.shown
    if shown.cut_short:
        terminal.print_note(f"denoised again in {out}, because they were truncated or blanked: {shown.cut_short}")
    if shown.in_the_way:
        kept = f"not replaced in {out}, because they were not written by cxr-infer, or were changed since"
        print_error(f"{kept}: {shown.in_the_way}; --overwrite replaces them")
    if (summary.pending or asked.watch) and not stopped():
        print_error(
            f"stopped: cannot write to {out} (disk full or read-only?); fix that and run the same command to continue"
        )
    if stopped():
        ended = "stopped" if asked.watch else "interrupted"
        print_error(f"{ended}; run the same command to continue")
        raise typer.Exit(stopped.exit_status)
    # a small share, or few arrivals, may have no references
    some = asked.reference is not None and plan.shard is None and not asked.watch and shown.listed > 0
    unmeasured = some and not summary.count("psnr")
    if unmeasured:
        print_error(f"{asked.reference}: no result could be compared with a reference; see the notes on the files")
    if summary.failed or summary.in_the_way or reports.failed or unmeasured:
        raise typer.Exit(SOME_FAILED)
