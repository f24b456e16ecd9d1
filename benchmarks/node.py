"""Measure latency and throughput of the DICOM node: `python -m benchmarks.node [--images N]`.

A sender, the node and an archive that keeps nothing, on loopback of one machine. The times are from the node's audit:
an image is received when it is synced to disk, and sent from the first byte of its derived image.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.pages import read_page, write_page
from benchmarks.tables import table
from cxr_infer.batch.one_file import denoise_one
from cxr_infer.model.hardware import available_cpus
from cxr_infer.node.config import LOOPBACK, Config, Destination, Node, Receive
from cxr_infer.node.demo import Archive, send_phantoms
from cxr_infer.node.phantoms import phantom_instance, renamed
from cxr_infer.node.service import AUDIT, running

COMMAND = "python -m benchmarks.node"
HEIGHT, WIDTH = 2500, 2000  # px
SECONDS_AN_HOUR = 3600


def audited(folder: Path, instances: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Send instances through a node; return its audit once all are sent on."""
    archive = Archive()
    with archive.listening() as port:
        config = Config(
            Node(spool=str(folder), http_port=-1),
            Receive(port=0),
            destinations=(Destination("archive", LOOPBACK, port, "ARCHIVE"),),
        )
        with running(config, denoise_one) as node:
            while not node.worker.model:
                node.tick()
            send_phantoms(node.receiver.port, instances)
            while len(archive.arrived) < 2 * len(instances):
                node.tick()
    return [json.loads(line) for line in (folder / AUDIT).read_text().splitlines()]


def seconds(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["time"]).timestamp()


def latency(audit: list[dict[str, Any]], uid: str) -> dict[str, float]:
    """Return seconds spent denoising, and from the end of receiving to the first byte of the result sent."""
    received = next(r for r in audit if r["event"] == "received" and r["uid"] == uid)
    denoised = next(r for r in audit if r["event"] == "denoised" and r["uid"] == uid)
    sent = next(r for r in audit if r["event"] == "sent" and r.get("source") == uid)
    first_byte = seconds(sent) - sent["milliseconds"] / 1e3
    return {"denoise": denoised["milliseconds"] / 1e3, "latency": first_byte - seconds(received)}


def main(
    images: Annotated[int, typer.Option(help="How many images are sent in a row, for the throughput.")] = 6,
    page: Annotated[Path | None, typer.Option(help="Page whose table is replaced: docs/benchmarks/node.md.")] = None,
) -> None:
    text = read_page(page, COMMAND)
    _, content = phantom_instance(1, HEIGHT, WIDTH)
    with tempfile.TemporaryDirectory() as place:
        single = [latency(audited(Path(place) / str(turn), [renamed(content, "1.2.1")]), "1.2.1") for turn in range(3)]
        row = [renamed(content, f"1.2.{number}") for number in range(images)]
        audit = audited(Path(place) / "row", row)
    began = min(seconds(r) for r in audit if r["event"] == "received")
    ended = max(seconds(r) for r in audit if r["event"] == "sent")
    rows = [
        ["latency of one image, last byte received to first byte of its result sent, s", _figure(single, "latency")],
        ["of it denoising, s", _figure(single, "denoise")],
        [f"images an hour, {images} in a row", f"{images / (ended - began) * SECONDS_AN_HOUR:.0f}"],
    ]
    heading = f"{WIDTH} x {HEIGHT} px, 12 bits, {available_cpus()} CPU(s)"
    tables = table((heading, ""), rows)
    write_page(page, text, tables, COMMAND)
    typer.echo(tables)


def _figure(measured: list[dict[str, float]], name: str) -> str:
    return f"{median(each[name] for each in measured):.2f}"


if __name__ == "__main__":
    typer.run(main)
