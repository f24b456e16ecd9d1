"""The command `lab`: measure image quality after denoising according to a protocol."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_infer.cli.exit_status import reports_errors
from cxr_infer.cli.options import (
    ADVANCED,
    BASIC,
    MEASURE,
    InvertOption,
    MaxPixelsOption,
    QuietOption,
    WhiteOption,
    complete_model,
)
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.extras import install_command
from cxr_infer.settings import MAX_PIXELS

if TYPE_CHECKING:
    from cxr_infer.lab.laboratory import LabRequest
    from cxr_infer.lab.result import LabResult
    from cxr_infer.lab.runner import LabProgress
    from cxr_infer.settings import ReadOptions

REQUIRED_PACKAGES = ("scipy", "matplotlib")
PROTOCOLS = ("quick", "full")
PLAIN_STEP = 0.1  # fraction of the run between plain progress lines


def complete_protocol(incomplete: str) -> Iterator[str]:
    """Complete PROTOCOL: shipped protocols, folders and .toml files."""
    yield from (name for name in PROTOCOLS if name.startswith(incomplete))
    begun = Path(incomplete)
    folder, start = (begun, "") if incomplete.endswith("/") else (begun.parent, begun.name)
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.name.startswith(start) and not path.name.startswith("."):
                if path.is_dir():
                    yield f"{path}/"
                elif path.suffix.lower() == ".toml":
                    yield str(path)


ProtocolArgument = Annotated[
    str,
    typer.Argument(
        metavar="[PROTOCOL]",
        help="quick: takes two minutes. full: takes an hour or more. Or a .toml file that defines the measurements.",
        autocompletion=complete_protocol,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Directory of the result; a stopped run continues there. Default: lab-PROTOCOL.",
        rich_help_panel=BASIC,
    ),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        metavar="METHOD",
        help="Method to measure instead of those in the protocol: window, original, new, an .onnx file, gaussian, nlm, "
        "wavelet, bm3d, or a command such as 'prog {in} {out}'. May be repeated.",
        autocompletion=complete_model,
        rich_help_panel=BASIC,
    ),
]
ImagesOption = Annotated[
    Path | None, typer.Option(help="Directory of clean X-rays to use instead of phantoms.", rich_help_panel=BASIC)
]
FramesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--frames",
        metavar="FILE",
        help="A repeated exposure of the same phantom or patient: give two or more, or a directory of them.",
        rich_help_panel=BASIC,
    ),
]
NoiseOfOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A noisy X-ray from your detector, whose estimated noise is used for measurements too. If you have "
        "repeated exposures, use --frames instead.",
        rich_help_panel=BASIC,
    ),
]
SpacingOption = Annotated[
    float | None,
    typer.Option(
        help="Pixel spacing of --images in mm. Default: from their DICOM files; without it, sizes are in px.",
        rich_help_panel=ADVANCED,
    ),
]
CsvOption = Annotated[
    bool, typer.Option("--csv", help="Also write lab.csv, one row per point.", rich_help_panel=MEASURE)
]
PngOption = Annotated[
    bool, typer.Option("--png", help="Also write each figure to plots/ as PNG.", rich_help_panel=MEASURE)
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, as in lab.json.", rich_help_panel=MEASURE)
]
WorkersOption = Annotated[
    int | None,
    typer.Option(help="Studies to run at once. Default: one per CPU.", min=1, rich_help_panel=ADVANCED),
]


@reports_errors
def lab_command(
    protocol: ProtocolArgument = "quick",
    out: OutOption = None,
    method: MethodOption = None,
    images: ImagesOption = None,
    frames: FramesOption = None,
    noise_of: NoiseOfOption = None,
    spacing: SpacingOption = None,
    csv: CsvOption = False,
    png: PngOption = False,
    as_json: JsonOption = False,
    workers: WorkersOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    white: WhiteOption = None,
    invert: InvertOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure what a denoiser preserves, removes and invents. Research use only."""
    if any(find_spec(package) is None for package in REQUIRED_PACKAGES):
        raise UsageError(f"the lab needs more packages; run: {install_command('lab')}")
    from cxr_infer.lab.laboratory import asked_for
    from cxr_infer.lab.output import default_folder
    from cxr_infer.settings import ReadOptions

    reading = ReadOptions(max_pixels, white, invert)
    asked = _with_noise(asked_for(protocol, method or []), frames or [], noise_of, reading)
    asked = _with_images(asked, images, spacing, reading)
    folder = out or default_folder(asked.protocol.name)
    result = _measured(asked, folder, workers, quiet=quiet or as_json)
    _write(result, folder, csv=csv, png=png, as_json=as_json, quiet=quiet)


def _with_noise(asked: LabRequest, frames: list[Path], noise_of: Path | None, reading: ReadOptions) -> LabRequest:
    """Add the noise of the user's detector, from repeated exposures or a single image."""
    from cxr_infer.lab.images import one_image, repeated_frames
    from cxr_infer.lab.laboratory import with_frames, with_noise_of

    if frames and noise_of is not None:
        raise UsageError("--frames and --noise-of exclude each other; use --frames, which is more accurate")
    found = repeated_frames(frames, reading)
    if found is not None:
        return with_frames(asked, found)
    if noise_of is None:
        return asked
    image = one_image(noise_of, reading)
    try:
        return with_noise_of(asked, image)
    except ImageError as error:
        raise ImageError(f"{noise_of}: {error}") from error


def _with_images(asked: LabRequest, images: Path | None, spacing: float | None, reading: ReadOptions) -> LabRequest:
    """Add the user's images, with the pixel spacing given or that of their files."""
    from cxr_infer.lab.images import clean_images
    from cxr_infer.lab.protocol_files import LEAST_SPACING, MOST_SPACING, is_spacing, require_drawable

    if images is None and spacing is not None:
        raise UsageError("--spacing applies to --images; give both or neither")
    if spacing is not None and not is_spacing(spacing):
        raise UsageError(f"--spacing {spacing:g} mm is out of range; use {LEAST_SPACING:g} to {MOST_SPACING:g}")
    if images is None:
        return asked
    given, said = clean_images(images, asked.protocol.side, reading)
    spacing = spacing or said
    changed = (
        *asked.changed,
        f"images: {len(given)}",
        f"spacing: {'unknown' if spacing is None else f'{spacing:g} mm'}",
    )
    protocol = replace(asked.protocol, spacing=spacing)
    try:
        require_drawable(protocol)
    except UsageError as error:
        raise UsageError(f"{asked.source}: {error}") from error
    return replace(asked, protocol=protocol, images=given, changed=changed)


def _measured(asked: LabRequest, out: Path, workers: int | None, *, quiet: bool) -> LabResult:
    """Measure. Raises typer.Exit with the signal's status if the run is stopped."""
    from cxr_infer.cli.process import stop_on_signals
    from cxr_infer.lab.laboratory import measure, methods_of
    from cxr_infer.lab.output import require_own_folder
    from cxr_infer.lab.runner import LabStopped
    from cxr_infer.report.text import print_error

    require_own_folder(out)
    methods = methods_of(asked)
    program, *words = sys.argv
    with stop_on_signals() as stopped, _progress(quiet) as seen:
        try:
            return measure(
                asked,
                methods,
                out,
                stopped=stopped,
                seen=seen,
                command=(Path(program).name, *words),
                workers=workers,
            )
        except LabStopped:
            status = stopped.exit_status
    print_error(f"interrupted; completed measurements are in {out}; run the same command to continue")
    raise typer.Exit(status)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[LabProgress], None]]:
    """Yield a function to call with progress: a live bar on a terminal, plain lines elsewhere."""
    from cxr_infer.cli.bars import live_bar
    from cxr_infer.report.terminal import stderr_console

    console = stderr_console()
    if quiet:
        yield lambda progress: None
    elif console.is_terminal and not console.is_dumb_terminal:
        with live_bar(console, counts=False, transient=True) as bar:
            task = bar.add_task("measuring", total=1.0, text="")
            yield lambda seen: bar.update(task, completed=seen.share, text=f"{seen.study} {seen.done}/{seen.units}")
    else:
        told = 0.0

        def plain(seen: LabProgress) -> None:
            nonlocal told
            if seen.share >= told + PLAIN_STEP or (seen.share >= 1 > told):
                told = seen.share
                console.print(f"{seen.share:.0%} {seen.study} {seen.done}/{seen.units}", markup=False)

        yield plain


def _write(result: LabResult, out: Path, *, csv: bool, png: bool, as_json: bool, quiet: bool) -> None:
    from cxr_infer.lab.output import write_result
    from cxr_infer.lab.reading import read_off
    from cxr_infer.report import terminal

    written = write_result(result, out, csv=csv, png=png)
    if as_json:
        sys.stdout.write(result.to_json())
        return
    if not quiet:
        reading = read_off(result)
        for table in reading.tables:
            rarest = table.headings[:2:-1]  # dropped first if the terminal is too narrow
            terminal.print_table(table.title, table.headings, table.rows, names=table.headings[:1], dropped=rarest)
        for line in (*reading.against, *reading.sentences):
            terminal.print_line(line)
    terminal.print_line(f"result written to {', '.join(map(str, written))}")
