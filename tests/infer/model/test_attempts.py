"""Models that take too long, and the signals and deadlines that end them, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cxr_infer.formats.readers import write_image
from cxr_infer.model.attempts import attempt
from tests.infer.model.test_session import FLOAT, FREE, PATIENCE, node, number, one_long_operator, onnx, saved

# the command, which announces when the network begins to compute an image
ANNOUNCED = """
import sys
from cxr_infer.model import denoiser
compute = denoiser.run
def announced(*given):
    print("computing", file=sys.stderr, flush=True)
    return compute(*given)
denoiser.run = announced
from cxr_infer.cli.commands import main
main()
"""
# the command, with little time for the trial
IMPATIENT = """
from cxr_infer.model import session
session.try_on_small_image.__defaults__ = (0.5,)
from cxr_infer.cli.commands import main
main()
"""


def endless_above(path: Path, side: int) -> Path:
    """A model that returns images up to that height unchanged and loops for years on taller ones."""
    make = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [node("Identity", ["go"], "go_on"), node("Sin", ["state"], "next")],
        "body",
        [make("step", onnx.TensorProto.INT64, []), make("go", onnx.TensorProto.BOOL, []), make("state", FLOAT, FREE)],
        [make("go_on", onnx.TensorProto.BOOL, []), make("next", FLOAT, FREE)],
    )
    return saved(
        path,
        node("Shape", ["noisy"], "shape"),
        node("Gather", ["shape", "two"], "height"),
        node("Sub", ["height", "side"], "more"),
        node("Mul", ["more", "many"], "turns"),
        node("Max", ["turns", "zero"], "often"),
        node("Loop", ["often", "true", "noisy"], body=body),
        weights=[
            *(number(value, np.int64, name) for name, value in (("two", 2), ("side", side), ("zero", 0))),
            number(1 << 40, np.int64, "many"),
            number(True, np.bool_, "true"),
        ],
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "in" / name, np.full((100, 100), 90, np.uint8))
    return tmp_path / "in"


@pytest.fixture
def computing(tmp_path: Path, images: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """The command with the given arguments, in the middle of an image that would take years."""
    model = endless_above(tmp_path / "slow.onnx", side=64)
    command = [sys.executable, "-c", ANNOUNCED, *request.param, "--model", str(model)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:  # it would not end by itself
            assert process.stderr is not None
            assert process.stderr.readline() == "computing\n"
            time.sleep(0.5)
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """The exit status and the lines of stderr of a process that would not end by itself."""
    errors = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, errors.splitlines()


@pytest.mark.parametrize("computing", [("dir", "in", "--quiet")], indirect=True)
def test_a_second_interrupt_ends_a_run_during_an_image(computing: subprocess.Popen[str], tmp_path: Path) -> None:
    computing.send_signal(signal.SIGINT)
    time.sleep(1)
    assert computing.poll() is None, "the first asks it to stop after the image"
    computing.send_signal(signal.SIGINT)
    assert ended(computing) == (130, ["error: interrupted"])
    assert not list((tmp_path / "in-denoised").rglob("*.png"))
    assert not list((tmp_path / "in-denoised").rglob("*.part"))


@pytest.mark.parametrize("computing", [("file", "in/a.png", "out.png")], indirect=True)
@pytest.mark.parametrize(
    ("number", "status", "message"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_one_signal_ends_the_command_for_a_single_image(
    computing: subprocess.Popen[str], tmp_path: Path, number: int, status: int, message: str
) -> None:
    computing.send_signal(number)
    assert ended(computing) == (status, [f"error: {message}"])
    assert not (tmp_path / "out.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("endless", [True, False])
def test_an_endless_model_does_not_change_the_exit_status(tmp_path: Path, images: Path, endless: bool) -> None:
    """A thread that returns from C while Python shuts down would abort the process with status 134."""
    path = tmp_path / "x.onnx"
    model = endless_above(path, side=0) if endless else one_long_operator(path)
    for _ in range(3):
        command = [sys.executable, "-c", IMPATIENT, "dir", "in", "--model", str(model)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 2, done.stderr
        assert done.stderr == f"error: {model}: took more than 0.5 s for 64x64 pixels; not a denoising model?\n"


def test_an_interrupt_ends_the_trial_of_a_model(tmp_path: Path, images: Path) -> None:
    model = endless_above(tmp_path / "slow.onnx", side=0)
    code = ANNOUNCED.replace("denoiser", "session")
    command = [sys.executable, "-c", code, "dir", "in", "--model", str(model)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "computing\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            assert ended(process) == (130, ["error: interrupted"])
        finally:
            process.kill()


def test_an_attempt_returns_or_raises_what_its_work_does() -> None:
    def fails() -> None:
        raise KeyError("x")

    def too_slow() -> None:
        raise TimeoutError("of its own")

    assert attempt(lambda: 3) == 3
    assert attempt(lambda: None) is None
    assert attempt(lambda: 3, seconds=60) == 3
    with pytest.raises(KeyError, match="x"):
        attempt(fails)
    with pytest.raises(TimeoutError, match="of its own"):
        attempt(too_slow, seconds=60)


def test_work_that_takes_too_long_is_asked_to_end() -> None:
    asked_to_end = threading.Event()
    with pytest.raises(TimeoutError):
        attempt(asked_to_end.wait, seconds=0.05, end=asked_to_end.set)
    assert asked_to_end.is_set()


@pytest.mark.skipif(os.name == "nt", reason="signals of its own kind")
def test_an_exception_of_a_signal_handler_is_raised_during_work() -> None:
    asked_to_end = threading.Event()

    class Alarm(Exception):  # noqa: N818
        pass

    def ring(number: int, frame: object) -> None:
        raise Alarm

    previous = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Alarm):
            attempt(asked_to_end.wait, end=asked_to_end.set)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert asked_to_end.is_set()
