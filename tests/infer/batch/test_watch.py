"""Files that arrive in a watched directory are denoised once they are complete, until the run is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.batch.watch import ARRIVING, LOOK_EVERY, Arrivals
from cxr_infer.formats.readers import read_gray, write_image
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.shard import Shard
from tests.conftest import COMMAND, Run, tree

PATIENCE = 120.0  # s, enough on a busy machine
can_lease = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux reports open writers of a file")


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.1)


def names(arrivals: Arrivals) -> list[str]:
    return list(arrivals.look().names)


@pytest.fixture
def place(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> Path:
    write_image(tmp_path / "x" / "a.png", noisy_bytes[64:128, 64:128])
    return tmp_path / "x"


@pytest.fixture
def watched(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A running `dir x --watch` that has denoised the files present."""
    command = [*COMMAND, "dir", "x", "--watch", "--json", "r.jsonl"]
    with subprocess.Popen(
        command, cwd=place.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            eventually((place.parent / "x-denoised" / "a.png").is_file)
            yield process
        finally:
            process.kill()


def test_a_file_is_listed_once_it_is_stable_and_again_after_a_change(place: Path) -> None:
    arrivals = Arrivals(Directory(place))
    assert (names(arrivals), arrivals.arriving) == ([], ["a.png"])
    assert (names(arrivals), arrivals.arriving) == (["a.png"], [])
    assert names(arrivals) == []
    for suffix in (b"more", b"and more"):
        (place / "a.png").write_bytes((place / "a.png").read_bytes() + suffix)
        assert (names(arrivals), arrivals.arriving) == ([], ["a.png"])
    assert names(arrivals) == ["a.png"]
    content = (place / "a.png").read_bytes()
    (place / "a.png").unlink()
    assert (names(arrivals), arrivals.arriving) == ([], [])
    (place / "a.png").write_bytes(content)
    assert names(arrivals) == []
    assert names(arrivals) == ["a.png"], "a new file of the same name"


def test_non_x_rays_are_reported_once_and_folders_are_searched(place: Path) -> None:
    (place / "sub").mkdir()
    (place / ".hidden").mkdir()
    (place / "notes").write_text("no X-ray, by its name or content")
    (place / "link.png").symlink_to("nowhere")
    arrivals = Arrivals(Directory(place))
    arrivals.look()
    second = arrivals.look()
    assert [name for name, _ in second.ignored] == [".hidden", "notes"]
    assert [name for name, _ in second.problems] == ["link.png"]
    (place / ".hidden" / "more").touch()
    (place / "sub" / "b.png").write_bytes((place / "a.png").read_bytes())
    arrivals.look()
    last = arrivals.look()
    assert (list(last.names), list(last.ignored), list(last.problems)) == (["sub/b.png"], [], [])


def test_each_arriving_file_belongs_to_one_shard(place: Path) -> None:
    for index in range(20):
        (place / f"{index}.png").write_bytes((place / "a.png").read_bytes())
    shards = [Arrivals(Directory(place), Shard(index, 3)) for index in (1, 2, 3)]
    found = [names(shard) + names(shard) for shard in shards]
    assert sorted(name for shard in found for name in shard) == sorted(path.name for path in place.iterdir())
    assert all(found)


@can_lease
def test_a_file_is_not_complete_while_it_is_open_for_writing(place: Path) -> None:
    arrivals = Arrivals(Directory(place))
    with (place / "slow.png").open("wb") as file:
        file.write((place / "a.png").read_bytes()[:100])
        file.flush()
        assert [names(arrivals) for _ in range(4)] == [[], ["a.png"], [], []]
        assert arrivals.arriving == ["slow.png"]
        file.write((place / "a.png").read_bytes()[100:])
    assert [names(arrivals) for _ in range(2)] == [[], ["slow.png"]]
    with (place / "a.png").open("rb"):
        (place / "b.png").write_bytes((place / "a.png").read_bytes())
        assert [names(arrivals) for _ in range(2)] == [[], ["b.png"]], "readers do not delay a file"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_arriving_files_are_denoised_until_a_signal(
    place: Path, watched: subprocess.Popen[str], number: signal.Signals, status: int
) -> None:
    results, content = place.parent / "x-denoised", (place / "a.png").read_bytes()
    (place / "sub").mkdir()
    (place / "sub" / "b.png").write_bytes(content)
    eventually((results / "sub" / "b.png").is_file)
    (place / "damaged.png").write_bytes(content[:200])
    eventually(lambda: "damaged.png" in (place.parent / "r.jsonl").read_text())
    write_image(place / "damaged.png", read_gray(place / "a.png")[:, :32])
    eventually((results / "damaged.png").is_file)
    write_image(place / "a.png", read_gray(place / "a.png")[:32])
    eventually(lambda: read_gray(results / "a.png").shape == (32, 64))
    other = subprocess.run([*COMMAND, "dir", "x"], cwd=place.parent, capture_output=True, text=True)
    assert "another run is writing there" in other.stderr
    watched.send_signal(number)
    stdout, problems = watched.communicate(timeout=PATIENCE)
    assert watched.returncode == status
    assert problems.splitlines()[0].startswith("watching x, results go to ")
    assert problems.splitlines()[-1] == "error: stopped; run the same command to continue"
    assert problems.count("failed: x/damaged.png") == 1
    assert "4 denoised, 1 failed" in stdout
    assert "total:" not in stdout, "no speed, because it waited most of the time"
    *records, last = map(json.loads, (place.parent / "r.jsonl").read_text().splitlines())
    assert [record["name"] for record in records] == ["a.png", "sub/b.png", "damaged.png", "damaged.png", "a.png"]
    assert last["interrupted"] is True
    again = subprocess.run([*COMMAND, "dir", "x"], cwd=place.parent, capture_output=True, text=True)
    assert (again.returncode, "3 skipped" in again.stdout) == (0, True)


@pytest.mark.slow
def test_files_still_arriving_at_the_end_are_reported_and_left_alone(
    place: Path, watched: subprocess.Popen[str]
) -> None:
    with (place / "slow.png").open("wb") as file:
        file.write((place / "a.png").read_bytes()[:100])
        file.flush()
        time.sleep(3 * LOOK_EVERY)  # long enough for a scan
        watched.send_signal(signal.SIGTERM)
        stdout, _ = watched.communicate(timeout=PATIENCE)
    assert "1 denoised, 1 not begun" in stdout
    record = json.loads((place.parent / "r.jsonl").read_text().splitlines()[1])
    assert (record["name"], record["status"], record["message"]) == ("slow.png", "pending", ARRIVING)
    assert list(tree(place.parent / "x-denoised")) == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["x", "--watch", "--engine", "ray"], "--watch works on this machine only; omit --engine"),
        (
            ["memory://bucket/x", "--watch", "--out", "out"],
            "memory://bucket/x: cannot be watched; --watch needs a local directory",
        ),
        (["nowhere", "--watch"], "nowhere: no such directory"),
        (["x", "--watch", "--out", "x/inside"], "must not be the input directory or inside it"),
    ],
)
def test_unwatchable_directories_are_refused(run: Run, place: Path, arguments: list[str], problem: str) -> None:
    done = run("cxr-infer", "dir", *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_an_empty_directory_is_watched_until_the_output_is_lost(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with subprocess.Popen(
        [*COMMAND, "dir", "x", "--watch"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "watching x" in process.stderr.readline()
        eventually((tmp_path / "x-denoised").is_dir)
        (tmp_path / "x-denoised").rename(tmp_path / "gone")
        write_image(tmp_path / "x" / "a.png", np.zeros((64, 64), np.uint8))
        stderr = process.stderr.read()
    assert process.returncode == 1
    assert "the output directory was moved or removed" in stderr
    assert "(disk full or read-only?); fix that and run the same command to continue" in stderr
