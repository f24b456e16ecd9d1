"""Compare the speed of `cxr-infer dir` with its lower bound and other methods: `python -m benchmarks.speed --data DIR`.

Everything is timed in turn, round after round, in one process tree, and medians are compared: the ratios hold on a busy
machine, the seconds only on this one. Every speed is listed with its PSNR. Writes OUT/speed.md (the tables),
OUT/speed.json (every figure) and OUT/speed.svg.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import cv2
import numpy as np
import typer

from benchmarks import peers
from benchmarks.pages import machine, read_page, write_page
from benchmarks.plots import plot_time_against_size
from benchmarks.tables import table
from cxr_infer.cli.exit_status import reports_errors
from cxr_infer.errors import CxrError, UsageError
from cxr_infer.files import write_bytes
from cxr_infer.formats.readers import read_gray, write_image
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.pixels import ByteImage, from_unit, to_unit
from cxr_infer.model.hardware import available_cpus
from cxr_infer.report.terminal import stderr_console
from cxr_train.data import XrayImages, find_xrays
from cxr_train.noise import saturating_mottle

COMMAND = "python -m benchmarks.speed"
ROOT = Path(__file__).resolve().parent.parent  # where `python -m benchmarks...` works
SIDE = 1024  # px, for the comparison with other methods
DOSE = 71.0  # photons at white
SIZES = (256, 512, 1024, 2048, 4096)  # px
PIXELS_A_SIZE = 6 << 20  # minimum number of pixels per size, so that single files matter little
FILE_COUNTS = (10, 100, 1000)
SMALL = 256  # px, of the images for growth with the number of files
TINY = 64  # px, of the image for the start-up
SLOW = frozenset({peers.BM3D, peers.DNCNN})  # timed on one image per round
OUR_COMMANDS = {"cxr-infer dir": "auto", "cxr-infer dir, fp32": "fp32"}  # shown name -> --precision
DECODING, ENCODING = "reading the PNG", "writing the PNG"
EVERYTHING_IN_TURN = "reading, bare int8, writing, in turn"


@dataclass(frozen=True)
class Growth:
    """One point: the varied quantity, seconds per megapixel and per file (without start-up), peak memory in MB."""

    of: int
    seconds_a_megapixel: float
    seconds_a_file: float
    peak: float


@dataclass
class SpeedReport:
    """All measurements. Seconds are medians; those of methods are per megapixel."""

    threads: int
    machine: str
    seconds: dict[str, float] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)  # MB
    by_size: list[Growth] = field(default_factory=list)
    by_files: list[Growth] = field(default_factory=list)
    start_up: dict[str, float] = field(default_factory=dict)  # seconds, the whole process


@dataclass(frozen=True)
class CliRun:
    """One run of `cxr-infer dir`: from its report, and from the system."""

    seconds: float  # from the first file to the last
    megapixels: float
    whole: float  # seconds, start-up and all
    peak: float  # MB


def run_cli(source: Path, out: Path, threads: int, *options: str) -> CliRun:
    """Run `cxr-infer dir` in its own process. Raises CxrError if it fails."""
    report, peak = out.with_suffix(".json"), out.with_suffix(".peak")
    options += ("--json", str(report), "--overwrite", "--quiet", "--threads", str(threads))
    arguments = ["dir", str(source), "--out", str(out), *options]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory", str(peak), *arguments], check=False, cwd=ROOT)
    whole = time.perf_counter() - started
    if done.returncode:
        raise CxrError(
            f"cxr-infer failed with exit status {done.returncode}; run it manually: cxr-infer {' '.join(arguments)}"
        )
    summary = json.loads(report.read_text())["summary"]
    return CliRun(summary["seconds"], summary["megapixels"], whole, float(peak.read_text()))


@contextmanager
def working_peers(names: Sequence[str], threads: int) -> Iterator[Mapping[str, Callable[[ByteImage], peers.Timing]]]:
    """Yield each peer in its own process, as a function of the image."""
    context = multiprocessing.get_context("spawn")

    def timed(pool: ProcessPoolExecutor) -> Callable[[ByteImage], peers.Timing]:
        return lambda image: pool.submit(peers.run, image).result()

    with ExitStack() as stack:
        yield {
            name: timed(stack.enter_context(ProcessPoolExecutor(1, context, peers.start, (name, threads))))
            for name in names
        }


def side_by_side(
    clean: Mapping[str, ByteImage],
    work: Path,
    names: Sequence[str],
    rounds: int,
    report: SpeedReport,
    say: Callable[[str], None],
) -> None:
    """Time every method on the same noisy PNGs, in turn, and add the medians to the report."""
    source = work / "noisy"
    noisy = write_noisy(clean, source)
    times: dict[str, list[float]] = {}
    figures: dict[str, list[float]] = {}

    def note(name: str, seconds: float, megapixels: float) -> None:
        times.setdefault(name, []).append(seconds / megapixels)

    with working_peers(names, report.threads) as timed:
        for turn in range(rounds):
            for name, precision in OUR_COMMANDS.items():
                done = run_cli(source, work / precision, report.threads, "--precision", precision)
                note(name, done.seconds, done.megapixels)
                report.peak[name] = max(report.peak.get(name, 0.0), done.peak)
            for path in sorted(source.iterdir()):
                for name, seconds in zip((DECODING, ENCODING), _read_and_write(path, work), strict=True):
                    note(name, seconds, noisy[path.name].size / 1e6)
            for name, peer in timed.items():
                for file in list(noisy)[: 1 if name in SLOW else None]:
                    part = slice(0, peers.BM3D_SIDE if name == peers.BM3D else None)
                    timing = peer(noisy[file][part, part])
                    note(name, timing.seconds, timing.megapixels)
                    report.peak[name] = timing.peak
                    if timing.result is not None:
                        truth = to_unit(clean[file][part, part])
                        figures.setdefault(name, []).append(psnr(truth, to_unit(timing.result)))
            say(f"round {turn + 1} of {rounds}: " + ", ".join(f"{n} {1e3 * t[-1]:.0f} ms/MP" for n, t in times.items()))
    for name, precision in OUR_COMMANDS.items():
        results = (read_gray(work / precision / file) for file in clean)
        figures[name] = [
            psnr(to_unit(truth), to_unit(result)) for truth, result in zip(clean.values(), results, strict=True)
        ]
    report.seconds |= {name: median(values) for name, values in times.items()}
    parts = (DECODING, peers.BARE_INT8 if peers.BARE_INT8 in names else peers.BARE_FP32, ENCODING)
    report.seconds[EVERYTHING_IN_TURN] = sum(report.seconds[part] for part in parts)
    report.psnr |= {name: fmean(values) for name, values in figures.items()}


def write_noisy(clean: Mapping[str, ByteImage], folder: Path) -> dict[str, ByteImage]:
    """Add mottle to every image, write it as an 8-bit PNG, and return the written pixels."""
    noisy = {}
    for index, (name, image) in enumerate(clean.items()):
        mottle = saturating_mottle(to_unit(image), DOSE, np.random.default_rng(index))
        noisy[name] = from_unit(mottle, np.dtype(np.uint8)).astype(np.uint8)
        write_image(folder / name, noisy[name])
    return noisy


def _read_and_write(path: Path, work: Path) -> tuple[float, float]:
    """Return the seconds to read and to write a PNG."""
    started = time.perf_counter()
    pixels = read_gray(path)
    read = time.perf_counter()
    write_image(work / "written.png", pixels)
    return read - started, time.perf_counter() - read


def growth(
    clean: ByteImage,
    work: Path,
    points: Sequence[tuple[int, int, int]],
    rounds: int,
    threads: int,
) -> list[Growth]:
    """Time `cxr-infer dir` over (varied quantity, side in px, files), interleaved; return the medians of the rounds."""
    runs: dict[int, list[CliRun]] = {}
    for of, side, files in points:
        image = np.asarray(cv2.resize(clean, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        (name,) = write_noisy({"0000.png": image}, work / f"in-{of}")
        for index in range(1, files):
            (work / f"in-{of}" / f"{index:04}.png").hardlink_to(work / f"in-{of}" / name)
    for _ in range(rounds):
        for of, _side, _files in points:
            runs.setdefault(of, []).append(run_cli(work / f"in-{of}", work / f"out-{of}", threads))
    return [
        Growth(
            of,
            median(run.seconds / run.megapixels for run in runs[of]),
            median(run.seconds / files for run in runs[of]),
            max(run.peak for run in runs[of]),
        )
        for of, _, files in points
    ]


def start_up(clean: ByteImage, work: Path, rounds: int, threads: int) -> dict[str, float]:
    """Return the seconds of whole processes with almost nothing to do."""
    image = np.asarray(cv2.resize(clean, (TINY, TINY), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    write_noisy({"tiny.png": image}, work / "tiny")
    executable = Path(sys.executable).with_name("cxr-infer")
    version: list[float] = []
    python: list[float] = []
    tiny: list[float] = []
    for _ in range(rounds):
        for command, times in (([str(executable), "--version"], version), ([sys.executable, "-c", ""], python)):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - started)
        tiny.append(run_cli(work / "tiny", work / "tiny-out", threads).whole)
    return {
        "python itself": median(python),
        "`cxr-infer --version`": median(version),
        f"`cxr-infer dir`, one image of {TINY} px": median(tiny),
    }


def to_markdown(report: SpeedReport) -> str:
    """Return the tables for the documentation."""
    ours = next(iter(OUR_COMMANDS))
    rows = []
    for name, seconds in sorted(report.seconds.items(), key=lambda item: item[1]):
        found, memory = report.psnr.get(name), report.peak.get(name)
        rows.append(
            [
                f"**{name}**" if name == ours else name,
                f"{1 / seconds:.2f}",
                f"{seconds / report.seconds[ours]:.2f}",
                f"{found:.2f}" if found is not None else "",
                f"{memory:.0f}" if memory is not None else "",
            ]
        )
    sizes = [[f"{point.of}", f"{1e3 * point.seconds_a_megapixel:.0f}", f"{point.peak:.0f}"] for point in report.by_size]
    files = [[f"{point.of}", f"{1e3 * point.seconds_a_file:.1f}", f"{point.peak:.0f}"] for point in report.by_files]
    parts = [
        f"{SIDE}x{SIDE} 8-bit PNGs at {DOSE:.0f} photons, {report.threads} threads, {report.machine}, no start-up.\n",
        table(["method", "MP/s", f"time, {ours} = 1", "PSNR, dB", "peak memory, MB"], rows),
        table(["side, px", "ms per megapixel", "peak memory, MB"], sizes),
        table([f"files of {SMALL} px", "ms per file", "peak memory, MB"], files),
        table(["start-up", "s"], [[name, f"{seconds:.2f}"] for name, seconds in report.start_up.items()]),
    ]
    return "\n".join(parts)


app = typer.Typer(add_completion=False)


@app.command()
@reports_errors
def main(
    data: Annotated[Path, typer.Option(help="Directory of clean chest X-rays, split by patient.")],
    count: Annotated[int, typer.Option("-n", "--images", min=1, help="Images for the comparison with others.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Number of timing rounds.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of every method. Default: all.")] = None,
    out: Annotated[Path, typer.Option(help="Directory of the tables, figures and plot.")] = Path("speed"),
    page: Annotated[
        Path | None, typer.Option(help="Page whose tables are replaced, such as docs/benchmarks/speed.md.")
    ] = None,
) -> None:
    """Compare the speed of `cxr-infer dir` with its lower bound and with alternatives."""
    say, text = stderr_console().print, read_page(page, COMMAND)
    report = SpeedReport(threads or available_cpus(), machine())
    large = [path for path in find_xrays(data).require("test") if min(read_gray(path).shape) >= SIDE][:count]
    if not large:
        raise UsageError(f"{data}: no test image of {SIDE} px; give the directory with the large ones")
    images = XrayImages(large, SIDE)
    clean = {f"{index:02}.png": np.asarray(images[index], dtype=np.uint8) for index in range(len(large))}
    first = next(iter(clean.values()))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        report.start_up = start_up(first, work, 2 * rounds + 1, report.threads)
        say("start-up timed")
        side_by_side(clean, work, peers.peers(), rounds, report, say)
        sizes = [(side, side, max(2, PIXELS_A_SIZE // side**2)) for side in SIZES]
        report.by_size = growth(first, work / "sizes", sizes, rounds, report.threads)
        say("sizes timed")
        report.by_files = growth(first, work / "files", [(n, SMALL, n) for n in FILE_COUNTS], 1, report.threads)
    write_bytes(out / "speed.json", json.dumps(asdict(report), indent=1).encode())
    write_bytes(out / "speed.md", to_markdown(report).encode())
    sides, ours = zip(*((point.of, point.seconds_a_megapixel) for point in report.by_size), strict=True)
    others = {name: report.seconds[name] for name in peers.peers() if name not in (peers.BARE_FP32, peers.BARE_INT8)}
    write_bytes(out / "speed.svg", plot_time_against_size(sides, ours, others))
    write_page(page, text, to_markdown(report), COMMAND)
    print(to_markdown(report))


if __name__ == "__main__":
    app()
