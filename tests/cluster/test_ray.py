"""A real Ray cluster of two nodes on this machine: the same as on one, whatever becomes of actors and drivers."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.scale import stop_node
from cxr_infer.output import MANIFEST
from tests.cluster.conftest import COMMAND, S3, contents, records
from tests.conftest import Run

RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Cluster:
    address: str
    client: str
    environment: dict[str, str]

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [*COMMAND, "dir", *map(str, arguments), "--engine", "ray", "--address", self.address]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def program(self, changes: str, source: Path, out: Path) -> dict[str, tuple[str, str]]:
        """Run the engine as a library, changed: status and message of each file."""
        code = f"""
import json, os, signal
from pathlib import Path
from cxr_infer import ray_engine
from cxr_infer.batch import denoise_files
from cxr_infer.denoiser import load_model
from cxr_infer.directory import Directory
from cxr_infer.plan import make_plan
{changes}
plan = make_plan(Directory(Path({str(source)!r})), Directory(Path({str(out)!r})))
engine = ray_engine.on_ray({self.address!r}, 1)
done = denoise_files(plan, load_model("window", threads=1), engine=engine)
print(json.dumps([[result.name, result.status, result.message] for result in done]))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=self.environment)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])  # Ray has its own to say
        assert len({name for name, *_ in found}) == len(found)
        return {name: (status, message) for name, status, message in found}


@pytest.fixture(scope="module")
def cluster(s3: S3) -> Iterator[Cluster]:
    pytest.importorskip("ray")
    port, client = free_port(), free_port()
    environment = {**os.environ, **s3.environment, "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    common = [RAY, "start", "--block", "--num-cpus=2", "--object-store-memory=100000000"]
    with ExitStack() as stack:
        # Ray's paths hold sockets, whose names must be short
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True))
        head = ["--head", f"--port={port}", f"--ray-client-server-port={client}", f"--temp-dir={folder}"]
        for more in ([*head, "--include-dashboard=false"], [f"--address=127.0.0.1:{port}"]):
            node = subprocess.Popen(
                [*common, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
            )
            stack.callback(stop_node, node)
            until(lambda: reachable(port))
        until(lambda: reachable(client))
        yield Cluster(f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}", environment)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def actors(out: Path) -> list[int]:
    """The processes that record results in that output."""
    found = []
    for entries in Path("/proc").glob("[0-9]*/fd"):
        try:
            open_files = [str(entry.readlink()) for entry in entries.iterdir()]
        except OSError:
            continue
        if any(name.startswith(str(out)) and name.endswith(".jsonl") for name in open_files):
            found.append(int(entries.parent.name))
    return found


def test_the_same_as_on_one_machine(cluster: Cluster, many: Path, whole: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out", tmp_path / "r.jsonl"
    done = cluster.run(many, "--out", out, "--json", report)
    assert done.returncode == 1, done.stderr
    assert contents(out) == contents(whole)
    assert records(report) == records(whole.with_suffix(".jsonl"))
    assert (out / MANIFEST).read_bytes() == (whole / MANIFEST).read_bytes()
    assert [path.name for path in out.rglob(".*")] == [MANIFEST]
    ours = re.compile(r"\d+/205 .*|failed: .*|left alone, .*")
    assert [line for line in done.stderr.splitlines() if not ours.fullmatch(line)] == []
    written = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["output"].startswith(f"{out}/") for line in written if line.get("status") == "done"} == {True}


def test_what_a_killed_actor_had_is_done_by_others(cluster: Cluster, many: Path, whole: Path, tmp_path: Path) -> None:
    """It is killed when a few results of its handful are there, of which it has told nobody."""
    out, killed = tmp_path / "out", tmp_path / "killed"
    mortal = f"""
class Mortal(ray_engine.Worker):
    def __call__(self, batch):
        if any('"0/099.pgm"' in item for item in batch["item"]) and not Path({str(killed)!r}).exists():
            super().__call__(dict(item=batch["item"][:3]))
            Path({str(killed)!r}).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)
ray_engine.Worker = Mortal
"""
    done = cluster.program(mortal, many, out)
    assert killed.exists()
    expected = {record["name"]: record["status"] for record in records(whole.with_suffix(".jsonl"))}
    assert {name: status for name, (status, _) in done.items()} == expected
    assert contents(out) == contents(whole)
    assert (out / MANIFEST).read_bytes() == (whole / MANIFEST).read_bytes()


def test_interrupted_then_killed_the_rest_is_done(cluster: Cluster, many: Path, whole: Path, tmp_path: Path) -> None:
    """With one actor, so that there is time for both."""
    out, report = tmp_path / "out", tmp_path / "r.jsonl"
    process = cluster.start(many, "--out", out, "--json", report, "--threads", "2")
    until(lambda: (report.exists() and '"done"' in report.read_text()) or process.poll() is not None)
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGCONT):  # it stands still until the signal is there
        process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    statuses = [record["status"] for record in records(report)]
    assert len(statuses) == len(records(whole.with_suffix(".jsonl")))
    assert {"done", "pending"} <= set(statuses)

    first = len(contents(out))
    process = cluster.start(many, "--out", out, "--threads", "2")
    until(lambda: len(contents(out)) > first or process.poll() is not None)
    process.kill()
    process.communicate()
    until(lambda: not actors(out))  # Ray ends them
    before = contents(out)
    assert before.items() < contents(whole).items(), "whole, or not there"
    again = subprocess.run([*COMMAND, "dir", many, "--out", out, "--json", report], capture_output=True, text=True)
    assert again.returncode == 1, again.stderr
    assert contents(out) == contents(whole)
    assert sum(record["status"] == "skipped" for record in records(report)) == len(before)
    assert (out / MANIFEST).read_bytes() == (whole / MANIFEST).read_bytes()
    assert [path.name for path in out.rglob(".*")] == [MANIFEST]


def test_from_a_bucket_into_a_bucket_through_a_client(cluster: Cluster, s3: S3, many: Path, whole: Path) -> None:
    s3.upload(many / "0", "for-ray")
    arguments = (f"s3://{s3.bucket}/for-ray", "--out", f"s3://{s3.bucket}/by-ray", "--shard", "1/3")
    for _ in range(3):
        done = replace(cluster, address=cluster.client).run(*arguments)
        if "Initialization failure from server" not in done.stderr:  # Ray's server of clients, on a busy machine
            break
    assert done.returncode == 0, done.stderr
    results = s3.contents("by-ray")
    assert len(results) > 10
    assert results.items() < contents(whole / "0").items()
    local = s3.run("dir", *arguments)
    assert f"{len(results)} skipped" in local.stdout


def test_an_image_that_ends_its_actor_every_time_fails_alone(
    cluster: Cluster, many: Path, whole: Path, tmp_path: Path
) -> None:
    mortal = """
class Mortal(ray_engine.Worker):
    def __call__(self, batch):
        if any('"001.tif"' in item for item in batch["item"]):
            os._exit(1)
        return super().__call__(batch)
ray_engine.Worker, ray_engine.RETRIES = Mortal, 0
"""
    done = cluster.program(mortal, many / "1", tmp_path / "out")
    lost = {name: status for name, (status, message) in done.items() if "its worker was lost each time" in message}
    assert lost == {"001.tif": "failed"}
    assert contents(tmp_path / "out").keys() == contents(whole / "1").keys() - {"001.tif"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--engine", "spark"], "unknown engine 'spark'"),
        (["--address", "auto"], "add --engine ray"),
        (["--engine", "ray", "--report", "r.html"], "use --json"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "no Ray cluster there"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, many: Path, options: list[str], problem: str) -> None:
    done = run("cxr-infer", "dir", many, "--out", "out", *options)
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


def test_more_threads_than_any_machine_has_are_refused(cluster: Cluster, many: Path, tmp_path: Path) -> None:
    done = cluster.run(many, "--out", tmp_path / "out", "--threads", "64")
    assert done.returncode == 2
    assert "threads 64 is more than the 2 CPUs of any machine in the cluster" in done.stderr


def test_without_the_extra_one_line_installs_it(many: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from cxr_infer.cli import main; main()"
    command = [sys.executable, "-c", code, "dir", str(many), "--engine", "ray"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: --engine ray needs pip install 'cxr-infer[ray]'\n"
