"""Send many small instances through one DICOM node: `python -m benchmarks.node_many [--instances N]`.

The node runs in its own process, with its worker; sender and archive run here. Ten times in a run, memory and handles
of both processes are read from /proc (Linux).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom import AE

from benchmarks.pages import read_page, write_page
from benchmarks.tables import table
from cxr_infer.errors import DataError
from cxr_infer.node.config import LOOPBACK
from cxr_infer.node.demo import Archive
from cxr_infer.node.phantoms import phantom_instance

COMMAND = "python -m benchmarks.node_many"
SIDE = 64  # px
IN_A_ROW = 100  # instances per association
LOOKS = 10
PATIENCE = 600.0  # s without a new result, however busy the machine is


@dataclass(frozen=True)
class ResourceUse:
    """Resources of the processes after that many results: resident memory in MB; handles are open files and sockets."""

    results: int
    node_mb: int
    node_handles: int
    node_threads: int
    worker_mb: int
    worker_handles: int


def descendants(pid: int) -> list[int]:
    """Return the processes started by a process, recursively."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, listed) for each in (child, *descendants(child))]


def status(pid: int, key: str) -> int:
    """Return a number from /proc/PID/status, such as VmRSS in kB (proc_pid_status(5)); 0 if the process has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)
    return 0


def handles(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0


def look(pid: int, results: int) -> ResourceUse:
    """Take all readings. The worker's figures are those of all processes below the node's."""
    below = descendants(pid)
    return ResourceUse(
        results,
        status(pid, "VmRSS") // 1000,
        handles(pid),
        status(pid, "Threads"),
        sum(status(each, "VmRSS") for each in below) // 1000,
        sum(map(handles, below)),
    )


@contextlib.contextmanager
def node_process(spool: Path, archive_port: int) -> Iterator[tuple[int, int]]:
    """Start a node as a process; yield its id and its port."""
    command = [sys.executable, "-m", "cxr_infer", "node", "run", "--spool", str(spool)]
    command += ["--to", f"ARCHIVE@{LOOPBACK}:{archive_port}", "--port", "0", "--http-port", "-1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if " at " not in line:
                raise DataError("the node did not start; run the same command manually")
            yield process.pid, int(line.split(" at ")[1].split(",")[0].rpartition(":")[2])
        finally:
            process.terminate()


def send(port: int, count: int) -> None:
    """Send that many instances, which differ only in their UID."""
    dataset = dcmread(BytesIO(phantom_instance(1, SIDE)[1]))
    ae = AE("MODALITY")
    ae.add_requested_context(ComputedRadiographyImageStorage)
    for first in range(0, count, IN_A_ROW):
        association = ae.associate(LOOPBACK, port, ae_title="CXRINFER")
        for number in range(first, min(first + IN_A_ROW, count)):
            dataset.SOPInstanceUID = f"1.2.{number}"
            found = association.send_c_store(dataset)
            if "Status" not in found or found.Status != 0:
                raise DataError(f"instance {number} not acknowledged: {found}")
        association.release()


def looks(count: int, folder: Path) -> Iterator[ResourceUse]:
    """Yield a reading after each tenth of the results. Raises DataError if no more arrive."""
    archive = Archive()
    with archive.listening() as archive_port, node_process(folder, archive_port) as (pid, port):
        sender = threading.Thread(target=send, args=(port, count), daemon=True)
        sender.start()
        for turn in range(1, LOOKS + 1):
            wanted, seen, since = 2 * count * turn // LOOKS, -1, time.monotonic()
            while len(archive.arrived) < wanted:
                if len(archive.arrived) != seen:
                    seen, since = len(archive.arrived), time.monotonic()
                elif time.monotonic() - since > PATIENCE:
                    raise DataError(f"{seen} of {2 * count} files arrived, then no more")
                time.sleep(0.2)
            yield look(pid, wanted)


def main(
    instances: Annotated[int, typer.Option(help="Number of instances sent in a row.")] = 10_000,
    page: Annotated[Path | None, typer.Option(help="Page whose table is replaced: docs/benchmarks/node.md.")] = None,
) -> None:
    text = read_page(page, COMMAND)
    found = []
    with tempfile.TemporaryDirectory() as place:
        for each in looks(instances, Path(place) / "spool"):
            typer.echo(f"{each}")
            found.append(each)
    headings = (
        *("files archived", "node, MB", "node, handles", "node, threads"),
        *("its child processes, MB", "their handles"),
    )
    tables = table(headings, [[str(value) for value in astuple(each)] for each in found])
    write_page(page, text, tables, COMMAND)
    typer.echo(tables)


if __name__ == "__main__":
    typer.run(main)
