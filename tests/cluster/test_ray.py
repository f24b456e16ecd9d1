"""A Ray cluster of two nodes on this machine gives the same as one machine, even if actors or drivers are killed."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale import stop_node
from cxr_infer.storage.record_files import LEDGER
from tests.cluster.conftest import S3, contents, ended, records, signalled
from tests.conftest import COMMAND, Run
from tests.ports import reserved_port

RAY = str(Path(sys.executable).with_name("ray"))
# in images as small as these the noise estimate is uncertain, which is reported once
UNSURE_NOTE = re.compile(r"^note: \S+: noise could not be separated from structure.*\(shown once\)\n", re.MULTILINE)
PROGRESS = re.compile(r"(\d+/\d+ .*|failed: .*|ignored .*)\n")  # and other output of the local engine
KILLED_ALWAYS, KILLED_ONCE = "001.tif", "100.png"  # images whose actors are killed every time, and once
# only the first actor returns anything, the others wait forever
ONE_ACTOR_WORKS = """
import time
from pathlib import Path
from cxr_infer.batch import ray_engine

class Waiting(ray_engine.Actor):
    def __call__(self, batch):
        try:
            Path("{asked}").touch(exist_ok=False)
        except FileExistsError:
            while True:
                time.sleep(1)
        return super().__call__(batch)

ray_engine.Actor = Waiting
"""
# the engine as a library, with actors that are killed
KILLED_ACTORS = """
import json, os, signal, sys
from pathlib import Path
from cxr_infer.batch import ray_engine
from cxr_infer.batch.engine import denoise_files
from cxr_infer.model.denoiser import load_model
from cxr_infer.storage.directory import Directory
from cxr_infer.errors import UsageError
from cxr_infer.batch.jobs import make_plan

class KilledOnce(ray_engine.Actor):
    def __call__(self, batch):
        if any(f'"{spared}"' in item for item in batch["item"]) and not killed.exists():
            super().__call__(dict(item=batch["item"][:3]))  # results that it reports to nobody
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)

class KilledAlways(ray_engine.Actor):
    def __call__(self, batch):
        if any(f'"{lost}"' in item for item in batch["item"]):
            os._exit(1)
        return super().__call__(batch)

def denoised(engine, worker, source, out):
    ray_engine.Actor = worker
    plan = make_plan(Directory(Path(source)), Directory(Path(out)))
    return [[done.name, done.status, done.message] for done in denoise_files(plan, model, engine=engine)]

address, spared, lost, many, few, place = sys.argv[1:]
killed = Path(place, "killed")
model = load_model("window", threads=1)
with ray_engine.on_ray(address, 1) as engine:
    once = denoised(engine, KilledOnce, many, f"{place}/once")
    ray_engine.RETRIES = 0
    always = denoised(engine, KilledAlways, few, f"{place}/always")
    try:
        with ray_engine.on_ray(None, 64):  # the cluster to which this process is connected
            refused = ""
    except UsageError as error:
        refused = str(error)
print(json.dumps(dict(once=once, always=always, refused=refused)))
"""


@dataclass(frozen=True)
class Cluster:
    address: str
    environment: dict[str, str]

    def start(self, *arguments: object, command: tuple[str, ...] = COMMAND) -> subprocess.Popen[str]:
        return self.started(command, "dir", *arguments, "--engine", "ray", "--address", self.address)

    def started(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a process that can reach the cluster and the bucket."""
        command = [word for part in arguments for word in (part if isinstance(part, tuple) else (str(part),))]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )


@pytest.fixture(scope="module")
def cluster(s3: S3) -> Iterator[Cluster]:
    pytest.importorskip("ray")
    port = reserved_port()
    environment = {**os.environ, **s3.environment, "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    # do not start processes in advance
    environment |= {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
    common = [RAY, "start", "--block", "--object-store-memory=100000000", "--include-log-monitor=false"]
    with ExitStack() as stack:
        # the folder contains Ray's sockets, whose names must be short
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True))
        head = ["--head", f"--port={port}", f"--ray-client-server-port={reserved_port()}", f"--temp-dir={folder}"]
        head += ["--num-cpus=1", "--include-dashboard=false"]
        for more in (head, ["--num-cpus=2", f"--address=127.0.0.1:{port}"]):
            node = subprocess.Popen(
                [*common, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
            )
            stack.callback(stop_node, node)
            until(lambda: reachable(port))
        yield Cluster(f"127.0.0.1:{port}", environment)


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, through a client server.

    Not the server of `ray start`: that forks a process for each client, which hangs if other threads run during the
    fork.
    """
    port = reserved_port()
    server = [sys.executable, "-m", "ray.util.client.server", "--mode=legacy", f"--address={cluster.address}"]
    process = subprocess.Popen(
        [*server, "--host=127.0.0.1", f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=cluster.environment,
    )
    try:
        until(lambda: reachable(port))
        yield Cluster(f"ray://127.0.0.1:{port}", cluster.environment)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def killed_actors(cluster: Cluster, many: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of each image in runs whose actors were killed, and the folder of their outputs."""
    place = tmp_path_factory.mktemp("killed_actors")
    done = ended(
        cluster.started(
            sys.executable, "-c", KILLED_ACTORS, cluster.address, KILLED_ONCE, KILLED_ALWAYS, many / "1", few, place
        )
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)  # Ray prints nothing else
    return {**found, "place": place}


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def actors(out: Path) -> list[int]:
    """Return the processes that record results in that output."""
    found = []
    for entries in Path("/proc").glob("[0-9]*/fd"):
        try:
            open_files = [str(entry.readlink()) for entry in entries.iterdir()]
        except OSError:
            continue
        if any(name.startswith(str(out)) and name.endswith(".jsonl") for name in open_files):
            found.append(int(entries.parent.name))
    return found


def name_and_status(record: dict[str, Any]) -> tuple[str, str]:
    return record["name"], record["status"]


def ledger(out: Path, folder: str = "") -> list[dict[str, str]]:
    """Return the records of the results in a folder of an output, with names relative to that folder."""
    lines = [json.loads(line) for line in (out / LEDGER).read_text().splitlines()]
    return [{**line, "name": line["name"].removeprefix(folder)} for line in lines if line["name"].startswith(folder)]


def test_results_are_the_same_as_on_one_machine(cluster: Cluster, many: Path, whole: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out", tmp_path / "r.jsonl"
    done = ended(cluster.start(many, "--out", out, "--json", report))
    assert done.returncode == 1, done.stderr
    assert contents(out) == contents(whole)
    assert records(report) == records(whole.with_suffix(".jsonl"))
    assert (out / LEDGER).read_bytes() == (whole / LEDGER).read_bytes()
    assert [path.name for path in out.rglob(".*")] == [LEDGER]
    assert UNSURE_NOTE.sub("", PROGRESS.sub("", done.stderr), count=1) == ""
    written = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["output"].startswith(f"{out}/") for line in written if line.get("status") == "done"} == {True}


def test_images_of_a_killed_actor_are_processed_by_others(killed_actors: dict[str, Any], whole: Path) -> None:
    """The actor is killed after writing a few results of its block and before reporting them."""
    out = killed_actors["place"] / "once"
    assert (killed_actors["place"] / "killed").exists()
    assert sorted((name, status) for name, status, _ in killed_actors["once"]) == sorted(
        (name.removeprefix("1/"), status)
        for name, status in map(name_and_status, records(whole.with_suffix(".jsonl")))
        if name.startswith("1/")
    )
    assert contents(out) == contents(whole / "1")
    assert ledger(out) == ledger(whole, "1/")
    assert [path.name for path in out.rglob(".*")] == [LEDGER]


def test_only_an_image_that_kills_its_actor_every_time_fails(
    killed_actors: dict[str, Any], few: Path, whole: Path
) -> None:
    results = {name: (status, message) for name, status, message in killed_actors["always"]}
    assert len(results) == len(killed_actors["always"])
    assert results.keys() == {path.name for path in few.iterdir()}
    status, message = results.pop(KILLED_ALWAYS)
    assert (status, message) == (
        "failed",
        f"{few / KILLED_ALWAYS}: its worker died every time; is the image too large for the memory of a worker?",
    )
    assert {status for status, _ in results.values()} == {"done"}
    found = contents(killed_actors["place"] / "always")
    assert len(found) == len(results)
    assert found.items() < contents(whole / "1").items()


def test_more_threads_than_any_machine_has_are_refused(killed_actors: dict[str, Any]) -> None:
    assert killed_actors["refused"] == "--threads 64 is more than the 2 CPUs of any machine in the cluster; give fewer"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_or_killed_run_is_completed_by_the_next(
    cluster: Cluster, few: Path, whole: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    out, report = tmp_path / "out", tmp_path / "r.jsonl"
    arguments = (few, "--out", out, "--json", report)
    first = signalled(number, 1, ONE_ACTOR_WORKS.format(asked=tmp_path / "asked"))
    done = ended(cluster.start(*arguments, command=first))
    assert done.returncode == status, done.stderr
    if number == signal.SIGINT:
        assert "interrupted; run the same command to continue" in done.stderr
        assert [record["status"] for record in records(report)].count("pending") == len(list(few.iterdir())) - 1
    until(lambda: not actors(out))  # Ray stops them
    before = contents(out)
    again = subprocess.run([*COMMAND, "dir", *map(str, arguments)], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    after = contents(out)
    assert 0 < len(before) < len(after) == len(list(few.iterdir()))
    assert before.items() < after.items(), "results are complete or absent"
    assert after.items() < contents(whole / "1").items()
    assert sum(record["status"] == "skipped" for record in records(report)) == len(before)
    assert [path.name for path in out.rglob(".*")] == [LEDGER]


def test_a_ray_client_denoises_from_bucket_to_bucket(client: Cluster, s3: S3, few: Path, whole: Path) -> None:
    s3.upload(few, "for-ray")
    arguments = (f"s3://{s3.bucket}/for-ray", "--out", f"s3://{s3.bucket}/by-ray")
    done = ended(client.start(*arguments))
    assert done.returncode == 0, done.stderr
    assert UNSURE_NOTE.sub("", PROGRESS.sub("", done.stderr), count=1) == ""
    results = s3.contents("by-ray")
    assert len(results) == len(list(few.iterdir()))
    assert results.items() < contents(whole / "1").items()
    local = s3.run("dir", *arguments)
    assert f"{len(results)} skipped" in local.stdout


def test_an_unknown_engine_is_named(run: Run, many: Path) -> None:
    done = run("cxr-infer", "dir", many, "--out", "out", "--engine", "spark")
    assert done.returncode == 2
    assert "spark" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--address", "auto"], "add --engine ray"),
        (["--engine", "ray", "--report", "r.html"], "use --json"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "cannot connect to a Ray cluster"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(run: Run, many: Path, options: list[str], problem: str) -> None:
    done = run("cxr-infer", "dir", many, "--out", "out", *options)
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
