"""Input for many workers: 200 small phantoms in a tree, some bad files, and a local S3 server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import from_unit
from tests.conftest import COMMAND

FILES, SIDE = 200, 64  # px
FEW = 10
BAD = {"1/damaged.png": b"\x89PNG\r\n\x1a\nhalf", "empty.png": b"", "2/text.jpg": b"no JPEG"}

MEASURED = ("milliseconds", "megapixels_per_second")  # keys that differ from run to run


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of 200 X-rays, with files that are broken, hidden or not X-rays."""
    folder = tmp_path_factory.mktemp("many") / "xrays"
    noise = np.random.default_rng(1)
    clean = render_phantom(2, SIDE)
    for index in range(FILES):
        noisy = poisson_mottle(np.roll(clean, index, axis=1), 70.0 + index, noise)
        kind = (".png", ".tif", ".jpg", ".pgm")[index % 4]
        write_image(folder / str(index % 3) / f"{index:03}{kind}", from_unit(np.minimum(noisy, 1), np.dtype(np.uint8)))
    for name, content in {**BAD, "notes.txt": b"no X-ray", ".hidden/a.png": b"x"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def whole(many: Path) -> Path:
    """The output of a run on one machine without shards; its report is next to it."""
    out = many.with_name("whole")
    report = out.with_suffix(".jsonl")
    done = subprocess.run([*COMMAND, "dir", many, "--out", out, "--json", report], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return out


@pytest.fixture(scope="session")
def few(many: Path) -> Path:
    """The first few X-rays of the directory `1`, for tests that need no more."""
    folder = many.with_name("few")
    folder.mkdir()
    for path in sorted((many / "1").glob("[0-9]*"))[:FEW]:
        shutil.copy(path, folder)
    return folder


def signalled(number: signal.Signals, done: int, changes: str = "") -> tuple[str, ...]:
    """Return a command that sends itself a signal once its stream of records, `--json`, has that many results.

    The signal therefore comes at the same point of a run, however fast the machine is. changes: Python to run first.
    """
    code = f"""
import os
from cxr_infer.cli.commands import main
from cxr_infer.report.json_file import JsonLines
add, done = JsonLines.add, []
def counted(self, result):
    add(self, result)
    if result.status == "done":
        done.append(result)
        if len(done) == {done}:
            os.kill(os.getpid(), {int(number)})
JsonLines.add = counted
{changes}
main()
"""
    return (sys.executable, "-c", code)


@dataclass(frozen=True)
class S3:
    """A bucket behind an S3 API on this machine, and the command with the environment to reach it."""

    client: Any
    environment: dict[str, str]
    bucket: str = "xrays"
    key: str = "AKIDNEVERSHOWN"

    def upload(self, folder: Path, prefix: str) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=self.bucket, Key=name, Body=path.read_bytes())

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects except the records of runs."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{prefix}/")
        keys = (found["Key"].removeprefix(f"{prefix}/") for page in pages for found in page.get("Contents", ()))
        return [key for key in keys if not key.startswith(".cxr-infer/")]

    def contents(self, prefix: str) -> dict[str, bytes]:
        return {
            name: self.client.get_object(Bucket=self.bucket, Key=f"{prefix}/{name}")["Body"].read()
            for name in self.names(prefix)
        }

    def start(
        self, *arguments: object, command: tuple[str, ...] = COMMAND, **environment: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment, **environment},
        )

    def python(self, code: str) -> str:
        """Run a program in that environment and return its output."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return ended(self.start(*arguments, **environment))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """moto's server, in its own process like any store."""
    boto3 = pytest.importorskip("boto3")
    code = (
        "from moto.server import ThreadedMotoServer as Server; server = Server(port=0, verbose=False); server.start();"
        "print(server.get_host_and_port()[1], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # one line per request
        text=True,
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        environment = {
            "AWS_ACCESS_KEY_ID": S3.key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=S3.key,
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=S3.bucket)
        yield S3(client, environment)
        client.close()
        server.kill()


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a process and return it with its output."""
    stdout, stderr = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all results, without the hidden files of the runs."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def records(*reports: Path) -> list[dict[str, Any]]:
    """Return the records of .jsonl reports, sorted by name, without the keys that differ from run to run."""
    lines = [json.loads(line) for path in reports for line in path.read_text().splitlines()[:-1]]
    for record in lines:
        for key in (*MEASURED, "output"):
            record.pop(key)
    return sorted(lines, key=lambda record: str(record["name"]))
