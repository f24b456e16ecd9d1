"""Measure the memory needed for a million names: `python -m benchmarks.listing [--names N]`.

Creates N empty files in a temporary folder, half of them in one directory, then measures in separate processes: listing
them, and opening an output with N recorded results.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.memory import peak_memory
from benchmarks.pages import read_page, write_page
from benchmarks.tables import table
from cxr_infer.batch.jobs import make_plan
from cxr_infer.files import write_bytes
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.directory_output import OutputDirectory
from cxr_infer.storage.ledger import Entry, digest
from cxr_infer.storage.record_files import LEDGER

COMMAND = "python -m benchmarks.listing"
ROOT = Path(__file__).resolve().parent.parent
FOLDERS = 500  # folders for the other half
MADE_BY = digest(b"model and settings")


def names(count: int) -> Iterator[str]:
    for index in range(count):
        yield f"{index:08}_000.png" if index % 2 else f"{index % FOLDERS:03}/{index:08}_000.png"


def list_names(folder: Path) -> int:
    """List the files and iterate over them once, as a run does. Returns their number."""
    plan = make_plan(Directory(folder / "in"), Directory(folder / "out"))
    return sum(1 for _ in plan.jobs())


def open_output(folder: Path) -> int:
    """Open the output, look up one result, and compact the records. Returns whether the result was made from that
    input.
    """
    with OutputDirectory(folder / "out", MADE_BY) as output:
        return int(output.made_of("00000001_000.png", digest(b"")))


STEPS: dict[str, Callable[[Path], int]] = {"list": list_names, "open": open_output}


def measured(step: str, folder: Path) -> tuple[float, float]:
    """Return seconds and peak memory in MB of a step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.listing", "--step", step, "--folder", str(folder)]
    seconds, peak = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    return float(seconds), float(peak)


def make_files(folder: Path, count: int) -> None:
    for index in range(FOLDERS):
        (folder / "in" / f"{index:03}").mkdir(parents=True, exist_ok=True)
    for name in names(count):
        (folder / "in" / name).touch()
    lines = (Entry(digest(name.encode()), MADE_BY, digest(name.encode())).line(name) for name in names(count))
    write_bytes(folder / "out" / LEDGER, lines)


def main(
    count: Annotated[int, typer.Option("--names", help="Number of names.")] = 1_000_000,
    page: Annotated[
        Path | None, typer.Option(help="Page whose tables are replaced, such as docs/benchmarks/scale.md.")
    ] = None,
    step: Annotated[str | None, typer.Option(hidden=True)] = None,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    if step is not None and folder is not None:
        started = time.perf_counter()
        STEPS[step](folder)
        typer.echo(f"{time.perf_counter() - started} {peak_memory()}")
        return
    text, rows = read_page(page, COMMAND), []
    for many in (count // 1000, count):
        with tempfile.TemporaryDirectory() as place:
            make_files(Path(place), many)
            for name, what in (("list", "listing"), ("open", "opening an output of as many results")):
                seconds, peak = measured(name, Path(place))
                rows.append([f"{many:,}", what, f"{seconds:.1f}", f"{peak:.0f}"])
    tables = table(("names", "what", "s", "peak MB"), rows)
    write_page(page, text, tables, COMMAND)
    typer.echo(tables)


if __name__ == "__main__":
    typer.run(main)
