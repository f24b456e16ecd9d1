"""The command `file`: denoise single images, or one through pipes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cxr_infer.cli.exit_status import SOME_FAILED, reports_errors
from cxr_infer.cli.natural import STANDARD
from cxr_infer.cli.options import (
    BASIC,
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
from cxr_infer.cli.process import STDIN, STDOUT, read_stdin, require_pipe, write_stdout
from cxr_infer.errors import CxrError, ImageError, UsageError
from cxr_infer.settings import DEFAULT_MEMORY, MAX_PIXELS, NONE, ReadOptions, Settings

if TYPE_CHECKING:
    from cxr_infer.batch.jobs import Job
    from cxr_infer.model.denoiser import Model
    from cxr_infer.report.results import FileResult


class FileCommand(TyperCommand):
    """A command whose last argument may be an output."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", "IN... [OUT]"]


@reports_errors
def file_command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN",
            help="X-rays: DICOM or pictures; - for standard input. OUT, the last of two: .png, .tif or, for "
            "DICOM, .dcm; a directory for several X-rays; - for standard output. Default: IN-denoised.",
        ),
    ],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="OUT; all arguments are then X-rays.", rich_help_panel=BASIC)
    ] = None,
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
    """Denoise one X-ray, or several."""
    from cxr_infer.formats.radiograph import check_deidentify
    from cxr_infer.model.denoiser import load_model

    check_deidentify(deidentify)
    settings = Settings(strength, window, overlap, repair_wrapped, memory, compress)
    reading = ReadOptions(max_pixels, white, invert)
    sources, place = _sources_and_place(paths, out)

    def loaded() -> Model:  # called once all paths are checked
        return load_model(model, precision=precision, threads=threads)

    if STANDARD in (*sources, place):
        _through_pipes(sources, place or STANDARD, loaded, settings, reading, overwrite=overwrite)
    else:
        _files(_jobs(sources, place, overwrite=overwrite), loaded(), settings, reading)


def _sources_and_place(paths: Sequence[str], out: str | None) -> tuple[Sequence[str], str | None]:
    """Split the arguments into sources and OUT: the last of two, or a final directory; None if there is no OUT."""
    if out is not None or len(paths) == 1:
        return paths, out
    *first, last = paths
    return (first, last) if len(first) == 1 or Path(last).is_dir() else (paths, None)


def _jobs(sources: Sequence[str], place: str | None, *, overwrite: bool) -> list[Job]:
    from cxr_infer.batch import jobs

    if place is not None and len(sources) == 1 and not Path(place).is_dir() and not place.endswith(("/", os.sep)):
        try:
            return [jobs.single_job(Path(sources[0]), Path(place), overwrite=overwrite)]
        except UsageError as error:
            if overwrite or not Path(place).is_file():
                raise
            raise UsageError(f"{error}; to denoise both, use -o DIRECTORY") from None
    folder = None if place is None else Path(place)
    return jobs.jobs_of_files([Path(source) for source in sources], folder, overwrite=overwrite)


def _files(jobs: Sequence[Job], model: Model, settings: Settings, reading: ReadOptions) -> None:
    """Denoise files one by one. If there are several, a failure does not stop the others."""
    from cxr_infer.batch.guard import result_of
    from cxr_infer.batch.pipeline import denoise_file, log_result
    from cxr_infer.cli.progress import progress_over
    from cxr_infer.report import terminal
    from cxr_infer.report.results import FAILED, FileResult, Summary

    summary, shown = Summary(), terminal.ShownResults()
    with progress_over(len(jobs), "denoising", quiet=len(jobs) == 1) as advance:
        for job in jobs:
            try:
                result = denoise_file(job, model, settings, reading)
            except ImageError as error:
                if len(jobs) == 1:
                    raise
                result = FileResult(job.name, FAILED, str(error))
            except CxrError:  # a model error, which all files would meet
                raise
            except Exception as error:
                if len(jobs) == 1:
                    raise
                result = result_of(job, error)
            log_result(result)
            for collect in (summary.add, shown.add, advance):
                collect(result)
    first, *others = jobs
    terminal.print_results(shown, summary, model.title if others else f"{model.title}: {first.target}")
    if others:
        folders = {str(job.target.parent) for job in jobs}
        terminal.print_line(f"results are in {', '.join(sorted(folders))}, named like {first.target.name}")
    else:
        terminal.print_line(f"result written to {first.target}")
        _tell(result, str(first.source))
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


def _through_pipes(
    sources: Sequence[str],
    place: str,
    loaded: Callable[[], Model],
    settings: Settings,
    reading: ReadOptions,
    *,
    overwrite: bool,
) -> None:
    """Denoise one image from standard input, to standard output, or both. Only notes are printed, to stderr."""
    from cxr_infer.batch.jobs import Job, require_free, require_lossless
    from cxr_infer.batch.pipeline import denoise_content
    from cxr_infer.files import read_content, require_image_file, write_bytes
    from cxr_infer.formats.readers import most_bytes

    if len(sources) > 1:
        raise UsageError("- stands for a single image; it cannot be combined with other files")
    piped_in, piped_out = sources[0] == STANDARD, place == STANDARD
    source, target = Path(STDIN if piped_in else sources[0]), Path(STDOUT if piped_out else place)
    if piped_out:
        require_pipe()
    else:
        require_lossless(target, source)
        require_free(target, overwrite, "another name")
    if not piped_in:
        require_image_file(source)
    content = read_stdin(most_bytes(reading)) if piped_in else read_content(source, most_bytes(reading))
    denoised, result = denoise_content(Job(source.name, source, target), content, loaded(), settings, reading)
    if piped_out:
        write_stdout(denoised)
    else:
        write_bytes(target, denoised)
    _tell(result, str(source))


def _tell(result: FileResult, source: str) -> None:
    from cxr_infer.report.terminal import print_note

    if result.message:
        print_note(f"note: {source}: {result.message}")
