"""Low memory, minimal environments, closed streams and signals: no result is lost, and no traceback is printed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.formats.readers import read_gray, write_image
from tests.conftest import COMMAND, tree


@pytest.mark.slow
def test_an_image_too_large_for_memory_fails_alone(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "x" / "a.png", noisy_bytes[:64, :64])
    write_image(tmp_path / "x" / "large.png", np.zeros((9000, 9000), np.uint8))
    write_image(tmp_path / "x" / "z.png", noisy_bytes[:64, :64])
    limited = ["bash", "-c", 'ulimit -v 1200000; exec "$@"', "-"]
    done = subprocess.run([*limited, *COMMAND, "dir", tmp_path / "x"], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "large.png: out of memory; allow more (see ulimit -v)" in done.stderr
    assert sorted(p.name for p in (tmp_path / "x-denoised").glob("*.png")) == ["a.png", "z.png"]


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [200, 300, 365, 400, 500, 600])
@pytest.mark.parametrize("command", [("models",), ("dir", "x", "--overwrite", "--quiet")], ids=lambda words: words[0])
def test_a_low_memory_limit_is_reported_in_one_line(
    tmp_path: Path, noisy_bytes: NDArray[np.uint8], command: tuple[str, ...], megabytes: int
) -> None:
    """Without precautions, C libraries crash while they are loaded or start threads."""
    write_image(tmp_path / "x" / "a.png", noisy_bytes[:64, :64])
    limited = ["bash", "-c", f'ulimit -v {megabytes}000; exec "$@"', "-"]
    done = subprocess.run([*limited, *COMMAND, *command], cwd=tmp_path, capture_output=True, text=True)
    if done.returncode == 0:
        assert done.stderr == ""
        return
    assert done.returncode in (1, 2), done.stderr
    assert re.fullmatch(r"(error: |failed: x/a\.png: ).*out of memory.*ulimit -v.*\n", done.stderr), done.stderr
    assert megabytes < 600 or (os.cpu_count() or 1) > 4  # enough, except for the threads of many CPUs


CODEC_FAILURE = """
import resource, sys
import cv2, numpy as np
from cxr_infer.errors import ImageError
from cxr_infer.formats import decoders, libraries
from cxr_infer.formats.picture import Picture

picture = Picture(np.zeros((512, 512), np.uint8))
codec_fails = {"imencode": lambda *_: (False, None), "imdecode": lambda *_: None}
vars(cv2).update(codec_fails)
if sys.argv[1] == "little":
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (8 << 20),) * 2)
for work in (lambda: libraries.encode(picture, ".png"), lambda: decoders.OPENCV.decode(b"x")):
    try:
        work()
    except (MemoryError, ImageError, decoders.DecodingError) as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("memory", "errors"), [("little", ["MemoryError"] * 2), ("enough", ["ImageError", "DecodingError"])]
)
def test_unexplained_codec_failures_count_as_out_of_memory_if_it_is_low(memory: str, errors: list[str]) -> None:
    """libpng allocates memory itself and OpenCV gives no reason; if memory is low, that is the reason."""
    done = subprocess.run([sys.executable, "-c", CODEC_FAILURE, memory], capture_output=True, text=True)
    assert done.stdout.split() == errors, done.stderr


@pytest.mark.parametrize(
    "environment",
    [{"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}, {}],
)
def test_directories_are_denoised_in_minimal_environments(
    tmp_path: Path, noisy_bytes: NDArray[np.uint8], environment: dict[str, str]
) -> None:
    """No HOME, no terminal, hardly any variable set."""
    write_image(tmp_path / "x" / "Лёгкие.png", noisy_bytes[:64, :64])
    done = subprocess.run(
        [*COMMAND, "dir", "x"], cwd=tmp_path, env=environment, capture_output=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert read_gray(tmp_path / "x-denoised" / "Лёгкие.png").shape == (64, 64)


@pytest.mark.parametrize(
    "closing",
    ["| head -c 1", "2>&1 | true", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1"],
)
def test_closed_and_full_streams_lose_no_result(tmp_path: Path, noisy_bytes: NDArray[np.uint8], closing: str) -> None:
    for index in range(3):
        write_image(tmp_path / "x" / f"{index}.png", noisy_bytes[:64, :64])
    command = f"'{COMMAND[0]}' -c '{COMMAND[2]}' dir x --json r.json {closing}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0
    assert len(list((tmp_path / "x-denoised").rglob("*.png"))) == 3
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["done"] == 3


@pytest.fixture
def slow_run(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> Iterator[subprocess.Popen[str]]:
    for index in range(400):
        write_image(tmp_path / "many" / f"{index:03}.png", noisy_bytes)
    process = subprocess.Popen(
        [*COMMAND, "dir", "many", "--json", "report.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_complete_files_and_their_report(
    slow_run: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    out = tmp_path / "many-denoised"
    deadline = time.monotonic() + 60
    while not list(out.glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    slow_run.send_signal(number)
    stdout, stderr = slow_run.communicate(timeout=60)
    assert slow_run.returncode == status
    assert "interrupted" in stderr
    assert "denoised" in stdout
    written = sorted(tree(out))
    assert 0 < len(written) < 400
    assert all(read_gray(out / name).shape == (256, 256) for name in written)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["interrupted"] is True
    assert [record["name"] for record in report["files"] if record["status"] == "done"] == written
    assert [record["status"] for record in report["files"]] == ["done"] * len(written) + ["pending"] * (
        400 - len(written)
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_file_leaves_no_temporary_file(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """The signal arrives while the file is being written."""
    write_image(tmp_path / "x.png", np.zeros((64, 64), np.uint8))
    code = (
        "import os, sys, time; from cxr_infer import files; from cxr_infer.cli import commands\n"
        f"os.fsync = lambda _: (os.kill(os.getpid(), {int(number)}), time.sleep(5))\n"
        "commands.main()"
    )
    command = [sys.executable, "-c", code, "file", "x.png", "out.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


INTERRUPTED_IMPORT = """
import os, signal, sys, time
class Interrupted:
    def find_spec(self, name, *_):
        if name == "cv2":
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            except KeyboardInterrupt:
                raise ImportError("initialization failed")
sys.meta_path.insert(0, Interrupted())
from cxr_infer.__main__ import main
main()
"""


def test_ctrl_c_during_imports_is_reported_as_an_interruption(tmp_path: Path) -> None:
    """numpy turns KeyboardInterrupt into ImportError."""
    (tmp_path / "x").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, "dir", tmp_path / "x"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
