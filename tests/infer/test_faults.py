"""Kills, full and failing disks: no partial or leftover files, no loss; the same command completes the run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import ImageError
from cxr_infer.files import read_content, write_bytes
from cxr_infer.formats.readers import read_gray, write_image
from cxr_infer.storage.record_files import LEDGER
from tests.conftest import COMMAND, Run, tree

FILES = 60

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, which only root may; CI does")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which .ci/run installs")


@pytest.fixture(scope="module")
def xrays(tmp_path_factory: pytest.TempPathFactory, noisy_bytes: NDArray[np.uint8]) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "xrays"
    for index in range(FILES):
        write_image(folder / str(index % 3) / f"{index:03}.png", np.roll(noisy_bytes[:160], 5 * index, axis=1))
    return folder


@pytest.fixture(scope="module")
def undisturbed(xrays: Path) -> dict[str, bytes]:
    """The output of an undisturbed run."""
    out = xrays.with_name("undisturbed")
    done = subprocess.run([*COMMAND, "dir", xrays, "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = tree(out, ledger=True)
    assert len(found) == FILES + 1
    return found


def start(xrays: Path, out: Path, *more: object) -> subprocess.Popen[str]:
    command = [*COMMAND, "dir", str(xrays), "--out", str(out), *map(str, more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(out: Path) -> int:
    return sum(1 for _ in out.rglob("*.png"))


@contextlib.contextmanager
def held(process: subprocess.Popen[str]) -> Iterator[None]:
    """Suspend the process, so that it cannot finish meanwhile on a busy machine."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def wait_for_result(process: subprocess.Popen[str], out: Path, more_than: int) -> None:
    while process.poll() is None and results(out) <= more_than:
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_killed_at_20_moments_is_completed_bit_exact(
    xrays: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    moments = random.Random(4)
    out, killed = tmp_path / "out", 0
    for _ in range(20):
        before = results(out)
        if before >= FILES - 5:
            shutil.rmtree(out)
            before = 0
        process = start(xrays, out)
        if moments.random() < 0.8:
            wait_for_result(process, out, before)
        time.sleep(moments.uniform(0, 0.12))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        for path in out.rglob("*.png"):  # complete or absent
            assert path.read_bytes() == undisturbed[path.relative_to(out).as_posix()]
    assert killed > 10
    done = subprocess.run([*COMMAND, "dir", xrays, "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert tree(out, ledger=True) == undisturbed


@pytest.mark.slow
def test_a_second_run_skips_finished_results_and_computes_the_others(
    run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    inputs = ["a.png", "b.png", "c.png", "d.png"]
    for name in inputs:
        write_image(tmp_path / "x" / name, noisy_bytes[:64, :64])
    out, kept = tmp_path / "x-denoised", list[str]()

    def statuses(*options: str) -> list[str]:
        done = run("cxr-infer", "dir", "x", "--json", "r.json", *options)
        assert done.returncode == (1 if kept else 0), "a file in the way is not a success"
        assert ("not replaced in" in done.stderr) == bool(kept)
        names = [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("skipped: ")]
        assert names == kept, "a file in the way is not a result and is reported"
        return [record["status"] for record in json.loads((tmp_path / "r.json").read_text())["files"]]

    assert statuses() == ["done"] * 4
    first = tree(out, ledger=True)
    assert statuses() == ["skipped"] * 4
    assert tree(out, ledger=True) == first
    write_image(tmp_path / "x" / "b.png", noisy_bytes[64:128, :64])  # another image
    (out / "c.png").unlink()
    (out / "d.png").write_bytes(b"annotated by a physician")
    kept.append("d.png")
    assert statuses() == ["skipped", "done", "done", "skipped"]
    assert (out / "c.png").read_bytes() == first["c.png"]
    assert (out / "b.png").read_bytes() != first["b.png"]
    assert statuses("--strength", "0.5") == ["done", "done", "done", "skipped"], "other settings, other results"
    assert (out / "d.png").read_bytes() == b"annotated by a physician"
    kept.clear()
    assert statuses("--overwrite") == ["done"] * 4
    assert (out / "d.png").read_bytes() == first["d.png"]
    (out / LEDGER).write_bytes(b"\xff\n{}\n[1]\n" + (out / LEDGER).read_bytes()[:-30])  # damaged
    kept.append("d.png")
    assert statuses() == ["skipped"] * 4


@pytest.mark.slow
def test_a_run_into_an_output_in_use_is_refused(xrays: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    first = start(xrays, out)
    wait_for_result(first, out, 0)
    with held(first):
        second = subprocess.run([*COMMAND, "dir", xrays, "--out", out], capture_output=True, text=True)
    assert second.returncode == 2
    assert "another run is writing there" in second.stderr
    first.communicate()
    assert first.returncode == 0
    assert tree(out, ledger=True) == undisturbed


def test_an_output_that_is_moved_away_ends_the_run(xrays: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out", tmp_path / "r.json"
    process = start(xrays, out, "--json", report)
    wait_for_result(process, out, 0)
    with held(process):
        out.rename(tmp_path / "elsewhere")
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "moved or removed" in stderr
    assert "disk full or read-only?" in stderr
    assert not out.exists(), "nothing is written where a disk was unmounted"
    assert not list(tmp_path.rglob("*.part"))
    records = json.loads(report.read_text())["files"]
    assert len(records) == FILES
    assert {"done", "failed", "pending"} == {record["status"] for record in records}


@pytest.mark.slow
def test_removed_inputs_fail_and_the_others_are_denoised(xrays: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(xrays, copy)
    out = tmp_path / "out"
    process = start(copy, out)
    wait_for_result(process, out, 0)
    with held(process):
        shutil.rmtree(copy / "2")
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "No such file" in stderr
    assert "Traceback" not in stderr
    assert results(out) >= FILES * 2 // 3


def test_an_input_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "growing.png"
    path.write_bytes(bytes(100_000_000))
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"more")
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(ImageError, match="changed while it was read"):
            read_content(path, 1 << 40)
    finally:
        stop.set()
        writer.join()


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="is too large for one image"):
        read_content(path, 1 << 30)


def test_a_failed_write_keeps_the_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def parts() -> Iterator[bytes]:
        yield b"new"
        raise OSError(5, "Input/output error")

    with pytest.raises(ImageError, match="Input/output error"):
        write_bytes(path, parts())
    assert tree(tmp_path, ledger=True) == {"x.png": b"old"}


@contextlib.contextmanager
def small_disk(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.slow
@needs_root
def test_a_full_disk_ends_the_run_which_resumes_with_more_space(
    run: Run, xrays: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    with small_disk(tmp_path / "disk", "size=200k") as disk:
        full = run("cxr-infer", "dir", xrays, "--out", disk / "out", "--json", "r.json")
        assert full.returncode == 1
        assert "No space left on device" in full.stderr
        assert "disk full or read-only?" in full.stderr
        assert "Traceback" not in full.stderr
        found = tree(disk / "out")
        assert 0 < len(found) < FILES
        assert all(content == undisturbed[name] for name, content in found.items())
        assert len(json.loads((tmp_path / "r.json").read_text())["files"]) == FILES
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        assert run("cxr-infer", "dir", xrays, "--out", disk / "out").returncode == 0
        assert tree(disk / "out", ledger=True) == undisturbed


@needs_root
def test_a_read_only_output_is_found_before_any_work(run: Run, xrays: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,ro") as disk:
        for out in (disk, disk / "out"):
            done = run("cxr-infer", "dir", xrays, "--out", out)
            assert done.returncode == 2
            assert "Read-only file system" in done.stderr
            assert done.stderr.count("\n") == 1


@needs_strace
def test_a_failing_disk_ends_the_run(xrays: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=10"]
    done = subprocess.run([*tracing, *COMMAND, "dir", xrays, "--out", out], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Input/output error" in done.stderr
    found = tree(out)
    assert len(found) >= 4
    assert all(content == undisturbed[name] for name, content in found.items())


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize(
    ("call", "error", "reason"),
    [("read", "EIO", "Input/output error"), ("openat", "EACCES", "Permission denied")],
)
def test_a_file_that_cannot_be_read_fails_alone(
    xrays: Path, tmp_path: Path, call: str, error: str, reason: str
) -> None:
    out, bad = tmp_path / "out", xrays / "1" / "001.png"
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(bad)]
    tracing += ["-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
    done = subprocess.run([*tracing, *COMMAND, "dir", xrays, "--out", out], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"failed: {bad}: cannot be read: {reason}" in done.stderr
    assert results(out) == FILES - 1


@needs_strace
def test_an_unreadable_file_without_suffix_fails_and_is_not_ignored(
    tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    write_image(tmp_path / "x" / "a.png", noisy_bytes[:64, :64])
    bad = tmp_path / "x" / "IM0001"
    bad.write_bytes(b"who knows")
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(bad)]
    tracing += ["-e", "trace=openat", "-e", "inject=openat:error=EACCES"]
    done = subprocess.run([*tracing, *COMMAND, "dir", tmp_path / "x"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "failed: IM0001: cannot be read to check whether it is an X-ray: Permission denied" in done.stderr
    assert results(tmp_path / "x-denoised") == 1


@needs_strace
def test_a_result_appears_after_it_and_its_record_are_synced(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    """Otherwise a power cut could leave a result that later runs take for a file of the user."""
    for index in range(3):
        write_image(tmp_path / "x" / f"{index}.png", noisy_bytes[:64, :64])
    log, out = tmp_path / "log", tmp_path / "x-denoised"
    tracing = ["strace", "-f", "-qq", "-y", "-o", str(log), "-e", "trace=fsync,/rename"]
    subprocess.run([*tracing, *COMMAND, "dir", tmp_path / "x"], check=True, capture_output=True)
    synced: list[str] = []
    renamed = []
    for line in log.read_text().splitlines():
        if "fsync(" in line:
            synced.append(line)
        elif re.search(r"\brename(at2?)?\(", line) and ".png" in line:
            assert any(LEDGER in one for one in synced)
            assert any(".part" in one for one in synced)
            renamed.append(synced)
            synced = []
    assert len(renamed) == 3, out


@needs_root
def test_a_read_only_installation_works(xrays: Path, tmp_path: Path) -> None:
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    package = Path(read_gray.__code__.co_filename).parents[2]
    isolated = ["unshare", "-m", "bash", "-c", script, "-", str(package)]
    out = tmp_path / "out"
    done = subprocess.run(
        [*isolated, *COMMAND, "dir", xrays / "0", "--out", out], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert results(out) == FILES // 3
