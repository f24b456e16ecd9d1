"""Shards of a directory run independently into one output and together cover every file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cxr_infer.errors import UsageError
from cxr_infer.storage.directory_output import OutputDirectory
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.protocols import State
from cxr_infer.storage.record_files import LEDGER
from cxr_infer.storage.shard import Shard, is_sibling, parse_shard
from tests.cluster.conftest import BAD, FILES, contents, ended, records, signalled
from tests.conftest import COMMAND, REPOSITORY, Run

EXAMPLES = REPOSITORY / "examples" / "cluster"
MADE_BY, SOURCE = digest(b"model and settings"), digest(b"original")


def test_every_name_is_in_one_shard_of_about_the_same_size() -> None:
    names = [f"patient {index}.png" for index in range(4000)]
    shares = [{name for name in names if Shard(index, 4).holds(name)} for index in range(1, 5)]
    assert sum(map(len, shares)) == len(names) == len(set.union(*shares))
    assert all(900 < len(share) < 1100 for share in shares)
    assert Shard(1, 1).holds("any")


def test_names_that_are_one_file_on_some_disks_are_in_one_shard() -> None:
    for index in range(1, 8):
        shard = Shard(index, 7)
        assert shard.holds("a/É.png") == shard.holds("A/e\u0301.PNG")
        shard.holds(os.fsdecode(b"caf\xe9"))


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2", "1.0/4"])
def test_invalid_shards_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="shard"):
        parse_shard(text)


def test_siblings_are_other_shards_of_the_same_split() -> None:
    assert is_sibling(".cxr-2-of-4-00.part", Shard(1, 4))
    assert not is_sibling(".cxr-1-of-4-00.part", Shard(1, 4))
    assert not is_sibling(".cxr-2-of-5-00.part", Shard(1, 4))
    assert not is_sibling(".cxr-00.part", Shard(1, 4))
    assert not is_sibling(".cxr-2-of-4-00.part", None)


def test_two_concurrent_shards_produce_all_results(many: Path, whole: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reports = [tmp_path / f"{index}.jsonl" for index in (1, 2)]
    options = [["--shard", f"{index}/2", "--json", reports[index - 1]] for index in (1, 2)]
    both = [subprocess.Popen([*COMMAND, "dir", many, "--out", out, "--quiet", *more]) for more in options]
    assert {process.wait(240) for process in both} <= {0, 1}
    assert contents(out) == contents(whole)
    assert len(contents(out)) == FILES
    assert records(*reports) == records(whole.with_suffix(".jsonl"))
    assert sum(record["status"] == "failed" for record in records(*reports)) == len(BAD)
    assert sorted(path.name for path in out.glob(".*")) == [".cxr-infer.1-of-2.jsonl", ".cxr-infer.2-of-2.jsonl"]

    again = run("cxr-infer", "dir", many, "--out", out, "--json", reports[0])
    assert f"{FILES} skipped" in again.stdout
    assert (out / LEDGER).read_bytes() == (whole / LEDGER).read_bytes(), "records of the shards are merged"
    assert [path.name for path in out.glob(".*")] == [LEDGER]
    third = run("cxr-infer", "dir", many, "--out", out, "--shard", "2/3")
    assert re.search(r"^\d+ failed, \d+ skipped|^\d+ skipped", third.stdout, re.MULTILINE)
    assert contents(out) == contents(whole)


def test_a_shard_without_images_succeeds(run: Run, tmp_path: Path, many: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes((many / "0" / "000.png").read_bytes())
    done = [run("cxr-infer", "dir", "x", "--shard", f"{index}/3") for index in (1, 2, 3)]
    assert [process.returncode for process in done] == [0, 0, 0]
    assert sum("1 denoised" in process.stdout for process in done) == 1


def test_shards_exclude_runs_that_could_write_the_same_file(tmp_path: Path) -> None:
    with OutputDirectory(tmp_path, MADE_BY, Shard(1, 2)):
        with OutputDirectory(tmp_path, MADE_BY, Shard(2, 2)):
            pass
        for rival in (None, Shard(1, 2), Shard(2, 3)):
            with pytest.raises(UsageError, match="another run"), OutputDirectory(tmp_path, MADE_BY, rival):
                pass
    with OutputDirectory(tmp_path, MADE_BY):  # noqa: SIM117  one of the two must fail
        with pytest.raises(UsageError, match="another run"), OutputDirectory(tmp_path, MADE_BY, Shard(1, 2)):
            pass
    with OutputDirectory(tmp_path, MADE_BY, Shard(2, 3)):
        pass


def test_a_shard_keeps_the_partial_files_of_its_siblings(tmp_path: Path) -> None:
    names = [".cxr-00.part", ".cxr-1-of-2-00.part", ".cxr-2-of-2-00.part", ".cxr-1-of-3-00.part"]
    for name in names:
        (tmp_path / name).touch()
    with OutputDirectory(tmp_path, MADE_BY, Shard(1, 2)):
        assert [path.name for path in tmp_path.glob("*.part")] == [".cxr-2-of-2-00.part"]


def test_records_of_a_killed_shard_are_used_by_other_runs(tmp_path: Path) -> None:
    name = next(name for name in map(str, range(10)) if Shard(1, 2).holds(name))
    output = OutputDirectory(tmp_path, MADE_BY, Shard(1, 2))
    output.__enter__()
    output.write(name, tmp_path / name, SOURCE, b"result")
    output.__exit__(KeyboardInterrupt, None, None)  # as in an interrupted run: records are not merged
    share = Shard(next(index for index in (1, 2, 3) if Shard(index, 3).holds(name)), 3)
    for later in (share, None):
        with OutputDirectory(tmp_path, MADE_BY, later) as output:
            assert output.state(name, tmp_path / name) is State.FINISHED


def test_a_stream_of_records_ends_with_the_summary(run: Run, many: Path, whole: Path) -> None:
    *lines, last = map(json.loads, whole.with_suffix(".jsonl").read_text().splitlines())
    assert len(lines) == FILES + len(BAD) + 2  # and the ignored files
    about = ["format", "date", "command", "cpu", "threads", "settings", "versions", "input", "output"]
    assert list(last) == ["model", *about, "interrupted", "summary"]
    assert last["summary"]["done"] == FILES
    refused = run("cxr-infer", "dir", many, "--out", "out", "--json", many.parent / "xrays" / "r.jsonl")
    assert refused.returncode == 2
    refused = run("cxr-infer", "dir", many, "--out", "out", "--json", "/proc/r.jsonl")
    assert refused.returncode == 2
    assert "give another --json" in refused.stderr


def test_records_are_written_immediately(many: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.jsonl"
    command = [*signalled(signal.SIGKILL, 3), "dir", str(many), "--out", str(tmp_path / "out"), "--json", str(report)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert [json.loads(line)["status"] for line in report.read_text().splitlines()].count("done") == 3


def test_the_slurm_script_processes_its_shard(many: Path, whole: Path, tmp_path: Path) -> None:
    script = EXAMPLES / "slurm.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "#SBATCH --array=1-" in script.read_text()
    program = tmp_path / "bin" / "cxr-infer"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m cxr_infer \"$@\"\n")
    program.chmod(0o755)
    out = tmp_path / "out"
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_COUNT": "2"}
    tasks = [
        subprocess.Popen(
            [script, many / "1", out],
            env={**environment, "SLURM_ARRAY_TASK_ID": task},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in "12"
    ]
    for done in map(ended, tasks):
        assert done.returncode in (0, 1), done.stderr
    assert contents(out) == contents(whole / "1")
    assert len(list(tmp_path.glob("out-report.*-of-2.jsonl"))) == 2


def test_the_ray_job_is_valid_bash() -> None:
    assert subprocess.run(["bash", "-n", EXAMPLES / "ray-job.sh"]).returncode == 0


def test_the_kubernetes_job_covers_every_shard() -> None:
    job = yaml.safe_load((EXAMPLES / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    count = job["spec"]["completions"]
    shares = []
    for index in range(count):
        script = "\n".join(container["args"]).replace("exec cxr-infer", "printf '%s\\n'")
        said = subprocess.run(
            ["sh", "-c", script], env={"JOB_COMPLETION_INDEX": str(index)}, capture_output=True, text=True
        ).stdout.split("\n")
        shares.append(parse_shard(said[said.index("--shard") + 1]))
    assert shares == [Shard(index, count) for index in range(1, count + 1)]
