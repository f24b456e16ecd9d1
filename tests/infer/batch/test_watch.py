"""What arrives in a watched directory is denoised once it is complete, for as long as nobody stops it."""

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

PATIENCE = 120.0  # s, for what takes some on a busy machine
can_lease = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells who writes to a file")


def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


def names(arrivals: Arrivals) -> list[str]:
    return list(arrivals.look().names)


@pytest.fixture
def place(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> Path:
    write_image(tmp_path / "x" / "a.png", noisy_bytes[64:128, 64:128])
    return tmp_path / "x"


@pytest.fixture
def watched(place: Path) -> Iterator[subprocess.Popen[str]]:
    """`dir x --watch` at work: it has denoised what was there."""
    command = [*COMMAND, "dir", "x", "--watch", "--json", "r.jsonl"]
    with subprocess.Popen(
        command, cwd=place.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            eventually((place.parent / "x-denoised" / "a.png").is_file)
            yield process
        finally:
            process.kill()


def test_a_file_is_told_once_it_stays_as_it_is_and_again_when_it_changes(place: Path) -> None:
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
    assert names(arrivals) == ["a.png"], "another one, that came later"


def test_folders_and_what_is_no_x_ray_are_told_once(place: Path) -> None:
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


def test_a_share_of_what_arrives(place: Path) -> None:
    for index in range(20):
        (place / f"{index}.png").write_bytes((place / "a.png").read_bytes())
    shares = [Arrivals(Directory(place), Shard(index, 3)) for index in (1, 2, 3)]
    told = [names(share) + names(share) for share in shares]
    assert sorted(name for share in told for name in share) == sorted(path.name for path in place.iterdir())
    assert all(told)


@can_lease
def test_a_file_that_somebody_writes_to_is_not_complete_however_long_that_takes(place: Path) -> None:
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
        assert [names(arrivals) for _ in range(2)] == [[], ["b.png"]], "who reads does no harm"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_arrives_is_denoised_until_a_signal(
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
    said, problems = watched.communicate(timeout=PATIENCE)
    assert watched.returncode == status
    assert problems.splitlines()[0].startswith("watching x, results go to ")
    assert problems.splitlines()[-1] == "error: stopped; run the same command to continue"
    assert problems.count("failed: x/damaged.png") == 1
    assert "4 denoised, 1 failed" in said
    assert "in all" not in said, "it waited most of the time"
    *records, last = map(json.loads, (place.parent / "r.jsonl").read_text().splitlines())
    assert [record["name"] for record in records] == ["a.png", "sub/b.png", "damaged.png", "damaged.png", "a.png"]
    assert last["interrupted"] is True
    again = subprocess.run([*COMMAND, "dir", "x"], cwd=place.parent, capture_output=True, text=True)
    assert (again.returncode, "3 skipped" in again.stdout) == (0, True)


@pytest.mark.slow
def test_what_still_arrives_as_it_stops_is_named_and_left_alone(place: Path, watched: subprocess.Popen[str]) -> None:
    with (place / "slow.png").open("wb") as file:
        file.write((place / "a.png").read_bytes()[:100])
        file.flush()
        time.sleep(3 * LOOK_EVERY)  # in which it is looked at
        watched.send_signal(signal.SIGTERM)
        said, _ = watched.communicate(timeout=PATIENCE)
    assert "1 denoised, 1 not begun" in said
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
def test_what_cannot_be_watched_is_refused(run: Run, place: Path, arguments: list[str], problem: str) -> None:
    done = run("cxr-infer", "dir", *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_an_empty_directory_can_be_watched_and_a_full_output_ends_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with subprocess.Popen(
        [*COMMAND, "dir", "x", "--watch"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "watching x" in process.stderr.readline()
        eventually((tmp_path / "x-denoised").is_dir)
        (tmp_path / "x-denoised").rename(tmp_path / "gone")
        write_image(tmp_path / "x" / "a.png", np.zeros((64, 64), np.uint8))
        said = process.stderr.read()
    assert process.returncode == 1
    assert "the output directory was moved or removed" in said
    assert "(disk full or read-only?); fix that and run the same command to continue" in said
