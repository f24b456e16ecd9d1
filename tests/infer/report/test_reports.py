"""`--json`, `--csv` and `--report`: they replace only earlier reports, and their failures do not end the run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.batch.jobs import make_plan
from cxr_infer.cli.report_files import check_report
from cxr_infer.errors import UsageError
from cxr_infer.formats.readers import write_image
from cxr_infer.report.json_file import JsonLines
from cxr_infer.report.reports import ReportFiles, Reports
from cxr_infer.report.results import DONE, FileResult, Summary
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.record_files import LEDGER
from tests.conftest import Run, tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, which only root may; CI does")
NAMES = ("r.json", "r.jsonl", "r.csv", "r.html")
OPTIONS = {".html": "--report", ".csv": "--csv"}


def option(name: str) -> list[str]:
    return [OPTIONS.get(Path(name).suffix, "--json"), name]


@pytest.fixture
def xrays(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> Path:
    for index in range(4):
        write_image(tmp_path / "x" / f"{index}.png", noisy_bytes[64:128, 64:128])
    return tmp_path / "x"


@pytest.mark.parametrize("name", NAMES)
def test_only_reports_of_earlier_runs_are_replaced(run: Run, xrays: Path, name: str) -> None:
    path, plan = xrays.with_name(name), make_plan(Directory(xrays), Directory(xrays.with_name("x-denoised")))
    for _ in range(2):  # like the commands of the README, run twice
        done = run("cxr-infer", "dir", xrays, *option(name))
        assert done.returncode == 0, done.stderr
    if name != "r.html":  # the page is written whole or not at all
        path.write_bytes(path.read_bytes()[:3000])  # as a killed run leaves it
    check_report(path, plan, "--x", (path.suffix,), overwrite=False)
    path.write_bytes(b"")
    check_report(path, plan, "--x", (path.suffix,), overwrite=False)
    for content in (b"{}", b'{"name": "mine"}\n', b"<!doctype html>", b"[" * 100_000, b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=f"{name}: exists and is not a report of cxr-infer; use --overwrite"):
            check_report(path, plan, "--x", (path.suffix,), overwrite=False)
        check_report(path, plan, "--x", (path.suffix,), overwrite=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("r.json", Path.symlink_to),
        ("r.jsonl", Path.symlink_to),
        ("r.jsonl", Path.hardlink_to),
        ("r.csv", Path.symlink_to),
        ("r.html", Path.hardlink_to),
    ],
)
def test_a_report_is_a_new_file_even_if_its_name_was_a_link(
    run: Run, xrays: Path, name: str, plant: Callable[[Path, Path], None]
) -> None:
    before = tree(xrays)
    plant(xrays.with_name(name), xrays / "0.png")
    refused = run("cxr-infer", "dir", xrays, "--out", "never", *option(name))
    assert refused.returncode == 2
    assert "exists and is not a report" in refused.stderr
    assert not xrays.with_name("never").exists(), "refused before any work"
    done = run("cxr-infer", "dir", xrays, "--overwrite", *option(name))
    assert done.returncode == 0, done.stderr
    assert tree(xrays) == before
    assert not xrays.with_name(name).is_symlink()
    assert b"3.png" in xrays.with_name(name).read_bytes()


@pytest.mark.slow
def test_hard_links_to_a_report_keep_the_earlier_content(run: Run, xrays: Path) -> None:
    """A backup made of hard links is not changed."""
    for name in ("r.json", "r.jsonl"):
        assert run("cxr-infer", "dir", xrays, *option(name)).returncode == 0
        path = xrays.with_name(name)
        kept = path.read_bytes()
        path.with_name(f"kept-{name}").hardlink_to(path)
        assert run("cxr-infer", "dir", xrays, *option(name)).returncode == 0
        assert path.with_name(f"kept-{name}").read_bytes() == kept
        assert b"finished in an earlier run" in path.read_bytes()


@pytest.mark.slow
def test_reports_with_reserved_names_or_behind_links_are_refused(
    run: Run, xrays: Path, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    out = tmp_path / "x-denoised"
    (tmp_path / "home").mkdir()
    assert run("cxr-infer", "dir", xrays).returncode == 0
    (out / "to").symlink_to(tmp_path / "home")
    before = tree(out, ledger=True)
    for name, problem in (
        (f"x-denoised/{LEDGER}", "this name is reserved for records of results"),
        ("x-denoised/.CXR-INFER.1-of-2.jsonl", "this name is reserved for records of results"),
        ("x-denoised/to/r.json", "a link in the output leads there"),
        ("x-denoised/to/new/r.html", "a link in the output leads there"),
    ):
        refused = run("cxr-infer", "dir", xrays, "--overwrite", *option(name))
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert problem in refused.stderr
    assert tree(out, ledger=True) == before
    assert not tree(tmp_path / "home")
    os.mkfifo(tmp_path / "r.json")
    refused = run("cxr-infer", "dir", xrays, "--overwrite", "--json", "r.json")
    assert "r.json: is a FIFO" in refused.stderr


def test_a_refused_run_leaves_the_report_of_the_running_one(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"at work\n")
    with JsonLines(path):
        pass
    assert tree(tmp_path) == {"r.jsonl": b"at work\n"}


def test_streamed_records_are_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with JsonLines(path) as records:
        for index in range(3):
            records.add(FileResult(f"{index}.png", DONE))
            assert json.loads(path.read_text().splitlines()[index])["name"] == f"{index}.png"
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()


def assert_only_the_report_is_missing(
    done: subprocess.CompletedProcess[str], out: Path, name: str, reason: str = "No space left on device"
) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert reason in errors[0]
    assert name in errors[0]
    assert "continuing without this report" in errors[0]
    assert "4 denoised" in done.stdout
    assert len(tree(out)) == 4


@needs_root
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_loses_only_the_report(run: Run, xrays: Path, tmp_path: Path, name: str) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        fill(disk)
        done = run("cxr-infer", "dir", xrays, *option(f"disk/{name}"))
        assert [file.name for file in disk.iterdir() if file.name.endswith(".part")] == []
    assert_only_the_report_is_missing(done, tmp_path / "x-denoised", name)


@pytest.mark.slow
@needs_root
def test_a_full_temporary_directory_loses_only_the_page(run: Run, xrays: Path, tmp_path: Path) -> None:
    for index, noise in enumerate(np.random.default_rng(0).integers(0, 256, (4, 512, 512))):
        write_image(xrays / f"{index}.png", noise.astype(np.uint8))  # pictures too large to be kept in memory
    with small_disk(tmp_path / "disk", "8k") as disk:
        both = ["--report", "r.html", "--json", "r.json"]
        done = run("cxr-infer", "dir", xrays, *both, TMPDIR=str(disk))
    assert_only_the_report_is_missing(done, tmp_path / "x-denoised", "r.html", "database or disk is full")
    assert not (tmp_path / "r.html").exists()
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["done"] == 4


def test_any_failure_of_a_report_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []

    def fault(self: object, result: FileResult) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("cxr_infer.report.json_file.JsonReport.add", fault)
    with Reports(ReportFiles(tmp_path / "r.json"), 0, 0, messages.append) as reports:
        for index in range(3):
            reports.add(FileResult(f"{index}.png", DONE))
        assert not reports.wanted
        reports.write({}, (), Summary(), measured=False, interrupted=False)
    assert reports.failed
    assert len(messages) == 1
    assert "r.json: ZeroDivisionError: of ours" in messages[0]
    assert not tree(tmp_path)
