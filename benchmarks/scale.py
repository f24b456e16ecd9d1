"""Predict the performance of many machines from this one: `python -m benchmarks.scale`.

Runs `cxr-infer dir` on phantoms with one thread, with the local engine and with one and two Ray actors, each on a few
images and on more: the difference gives the time per image, the rest is the start. A model with the local time, Ray's
overhead and the driver's own work predicts the time of a cluster; it is checked against the actors.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.pages import read_page, write_page
from benchmarks.tables import table
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import from_unit

COMMAND = "python -m benchmarks.scale"
ROOT = Path(__file__).resolve().parent.parent
SMALL = 64  # px, of images that take almost no time, to measure the overhead
FEW, MANY = 100, 1100  # such images
LARGE = 1024  # px, of the images of NIH ChestX-ray14
FEW_LARGE, MANY_LARGE = 8, 48
CPUS = 16  # of an assumed machine
BANDWIDTH = 1e9  # bytes per second between an assumed machine and the storage, both directions together
LISTED = 15_000  # names per second, as in `python -m benchmarks.listing`, or 15 pages of S3 per second
CASES = ((112_120, 1), (112_120, 16), (112_120, 64), (10_000_000, 16), (10_000_000, 64))


@dataclass(frozen=True)
class Line:
    """A run as a straight line: seconds before the first image, seconds per image, and CPU seconds of its own
    process.
    """

    start: float
    an_image: float
    own_cpu: float  # per image


@dataclass(frozen=True)
class Costs:
    """Costs of one image with one thread, in seconds and bytes."""

    image: float  # reading, decoding, inference, encoding, writing
    overhead: float  # of Ray, per actor
    driver: float  # of the process that distributes names and collects records
    bytes: float  # read and written
    start: float  # of a run on a running cluster


def predicted(costs: Costs, images: int, actors: int, machines: int) -> float:
    """Return seconds: listing first, then the slowest of actors, network and driver, which work in parallel."""
    an_image = max((costs.image + costs.overhead) / actors, costs.bytes / (BANDWIDTH * machines), costs.driver)
    return images / LISTED + costs.start + images * an_image


def bound_by(costs: Costs, actors: int, machines: int) -> str:
    times = {
        "actors": (costs.image + costs.overhead) / actors,
        "network": costs.bytes / (BANDWIDTH * machines),
        "driver": costs.driver,
    }
    return max(times, key=lambda name: times[name])


def make_phantoms(folder: Path, count: int, side: int) -> None:
    """Write one clean phantom, shifted and with different mottle each time."""
    clean, noise = render_phantom(3, side), np.random.default_rng(2)
    for index in range(count):
        noisy = np.minimum(poisson_mottle(np.roll(clean, index, axis=1), 200.0, noise), 1)
        write_image(folder / f"{index:06}.png", from_unit(noisy, np.dtype(np.uint8)))


@contextmanager
def cluster(cpus: int) -> Iterator[dict[str, str]]:
    """Start a Ray cluster on this machine; yield the environment in which `--address` finds it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--include-dashboard=false"]
    command += [f"--port={port}", f"--num-cpus={cpus}", "--object-store-memory=200000000"]
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        node = subprocess.Popen(
            [*command, f"--temp-dir={folder}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        try:
            time.sleep(10)
            yield {**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}
        finally:
            stop_node(node)


def stop_node(node: subprocess.Popen[bytes]) -> None:
    """Stop the node and all its processes, some of which would outlive it by minutes."""
    started = descendants(node.pid)
    node.terminate()
    with suppress(subprocess.TimeoutExpired):
        node.wait(1)
    for process in (node.pid, *started):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    node.wait()


def descendants(process: int) -> list[int]:
    """Return the processes started by a process, recursively."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    children = [int(child) for found in lists for child in found.read_text().split()]
    return [*children, *(later for child in children for later in descendants(child))]


def timed(source: Path, environment: dict[str, str], *options: str) -> tuple[float, float]:
    """Return wall seconds of a whole run and CPU seconds of its own process. Raises CalledProcessError if it fails."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "cxr_infer", "dir", str(source), "--out", f"{out}/out", "--quiet", *options]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **environment})
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def line(few: Path, many: Path, environment: dict[str, str], *options: str) -> Line:
    """Fit a line to two runs."""
    (first, first_cpu), (second, second_cpu) = (timed(source, environment, *options) for source in (few, many))
    counts = [sum(1 for _ in source.iterdir()) for source in (few, many)]
    more = counts[1] - counts[0]
    an_image = (second - first) / more
    return Line(first - an_image * counts[0], an_image, (second_cpu - first_cpu) / more)


def measure(work: Path) -> dict[str, Line]:
    sources = {}
    for side, counts in ((SMALL, (FEW, MANY)), (LARGE, (FEW_LARGE, MANY_LARGE))):
        for count in counts:
            sources[side, count] = work / f"{side}-{count}"
            make_phantoms(sources[side, count], count, side)
    small, large = (sources[SMALL, FEW], sources[SMALL, MANY]), (sources[LARGE, FEW_LARGE], sources[LARGE, MANY_LARGE])
    lines = {}
    for name, pair in (("small", small), ("large", large)):
        lines[f"{name}, local"] = line(*pair, {}, "--threads", "1")
    for actors in (1, 2):
        with cluster(actors + 1) as environment:
            for name, pair in (("small", small), ("large", large)):
                options = ("--engine", "ray", "--address", environment["RAY_ADDRESS"])
                lines[f"{name}, {actors} actors"] = line(*pair, environment, *options)
    return lines


def costs_of(lines: dict[str, Line], image_bytes: float) -> Costs:
    overhead = max(0.0, lines["small, 1 actors"].an_image - lines["small, local"].an_image)
    driver = lines["small, 1 actors"].own_cpu
    local = lines["large, local"]  # its reading and writing threads use another core, which a cluster keeps busy
    return Costs(max(local.an_image, local.own_cpu), overhead, driver, 2 * image_bytes, lines["large, 1 actors"].start)


def to_markdown(lines: dict[str, Line], costs: Costs) -> str:
    rows = [
        [name, f"{found.start:.1f}", f"{1e3 * found.an_image:.1f}", f"{1e3 * found.own_cpu:.1f}"]
        for name, found in lines.items()
    ]
    text = table(("run", "start, s", "an image, ms", "driver's CPU, ms"), rows) + "\n"
    checks = []
    for actors in (1, 2):
        found = lines[f"large, {actors} actors"]
        model = predicted(costs, MANY_LARGE, actors, 1)
        checks.append([str(actors), f"{model:.1f}", f"{found.start + MANY_LARGE * found.an_image:.1f}"])
    text += table(("actors", f"model for {MANY_LARGE} images, s", "measured, s"), checks) + "\n"
    cases = []
    for images, machines in CASES:
        actors = machines * CPUS - 1
        hours = predicted(costs, images, actors, machines) / 3600
        cases.append([f"{images:,}", str(machines), str(actors), f"{hours:.2f}", bound_by(costs, actors, machines)])
    return text + table(("images", "machines", "actors", "hours", "bound by"), cases)


def main(
    out: Annotated[Path | None, typer.Option(help="Also write every figure to this JSON file.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Page whose tables are replaced, such as docs/benchmarks/scale.md.")
    ] = None,
) -> None:
    text = read_page(page, COMMAND)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        lines = measure(work)
        large = list((work / f"{LARGE}-{MANY_LARGE}").iterdir())
        costs = costs_of(lines, sum(path.stat().st_size for path in large) / len(large))
    if out is not None:
        out.write_text(
            json.dumps({"lines": {k: asdict(v) for k, v in lines.items()}, "costs": asdict(costs)}, indent=1)
        )
    write_page(page, text, to_markdown(lines, costs), COMMAND)
    typer.echo(to_markdown(lines, costs))


if __name__ == "__main__":
    typer.run(main)
