"""A validation may take longer than the steps before it: it shows progress, counts as time and can be stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_infer.model.card import CHECKPOINT
from cxr_train.checkpoint import load_checkpoint, read_tensors
from cxr_train.config import STATE_FILE, TrainConfig
from cxr_train.data import XrayFiles
from cxr_train.loop import Progress, train
from cxr_train.tasks import CLEAN, SCORED
from cxr_train.validation import affordable_images, evenly_spaced
from tests.terminals import terminal
from tests.train.conftest import same_weights

COMMAND = (sys.executable, "-c", "from cxr_train.cli import main; main()")
PARTS = 2 * len((*SCORED, CLEAN))  # of a validation: two images with each noise
SOON = 30.0  # s within which a stop must be complete, even on a busy machine; a whole validation takes longer
SLOW_READING = (
    "import time, cxr_train.data as data; read = data.read_xray; "
    "data.read_xray = lambda *given: (time.sleep(5), read(*given))[1]; from cxr_train.cli import main; main()"
)


@pytest.mark.slow
@pytest.mark.parametrize("validation", [1, 2])
def test_a_stopped_validation_leaves_a_checkpoint_and_is_done_on_resume(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path, validation: int
) -> None:
    """The first of two validations is in the middle of the training, the second at its end."""
    config = replace(small_config, validate_images=4)
    assert train(config, files, tmp_path / "whole")
    shares: list[float] = []

    def note(progress: Progress) -> None:
        if progress.validating is not None and progress.step == 3 * validation:
            shares.append(progress.validating)

    assert not train(config, files, tmp_path / "parts", on_step=note, stopped=lambda: len(shares) > 2)
    assert shares == [0.0, 1 / PARTS, 2 / PARTS], "no further image after the stop"
    _, info = load_checkpoint(tmp_path / "parts" / CHECKPOINT)
    assert bool(info.metrics) is (validation == 2), "weights of the first checkpoint were not validated"
    assert train(config, files, tmp_path / "parts", resume=True)
    ours, theirs = (load_checkpoint(tmp_path / run / CHECKPOINT) for run in ("whole", "parts"))
    assert same_weights(ours[0], theirs[0])
    assert ours[1].metrics == theirs[1].metrics


def test_a_run_stopped_before_its_first_validation_leaves_a_checkpoint(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path
) -> None:
    done = Progress()

    def note(progress: Progress) -> None:
        done.step = progress.step

    assert not train(small_config, files, tmp_path, on_step=note, stopped=lambda: done.step == 2)
    assert load_checkpoint(tmp_path / CHECKPOINT)[1].training["steps_done"] == 2


@pytest.mark.slow
def test_the_time_limit_includes_validation(files: XrayFiles, small_config: TrainConfig, tmp_path: Path) -> None:
    minutes = 0.25
    config = replace(small_config, minutes=minutes, validate_images=4, validate_every=5)
    began = time.monotonic()
    assert train(config, files, tmp_path)
    assert 0.8 * minutes < (time.monotonic() - began) / 60 < 1.2 * minutes
    header = read_tensors(tmp_path / STATE_FILE)[1]
    assert 0.8 * minutes < header["progress"]["seconds"] / 60 < 1.2 * minutes, "validations count as time"
    assert header["validation"]["step"] == header["progress"]["step"] > 1
    images = load_checkpoint(tmp_path / CHECKPOINT)[1].training["validate_images"]
    assert images == header["validation"]["images"] < 4


def test_fewer_images_are_validated_if_time_is_short() -> None:
    assert affordable_images(16, seconds=960, available=180) == 1
    assert affordable_images(16, seconds=16, available=180) == 9
    assert affordable_images(16, seconds=1, available=180) == 16
    assert evenly_spaced("abcdefgh", 3) == ["a", "c", "f"]


@pytest.mark.slow
def test_a_signal_ends_a_validation_that_shows_a_progress_bar(data_directory: Path, tmp_path: Path) -> None:
    arguments = ["window", "--data", str(data_directory), "--steps", "1", "--batch", "1", "--crop", "64"]
    checkpoint = tmp_path / "runs" / "window" / CHECKPOINT
    with terminal([*COMMAND, *arguments], 80, tmp_path) as shown:
        shown.read(r"validation +━* +0%")
        assert checkpoint.is_file(), "the checkpoint is written before the validation"
        shown.read(r"validation [━╺╸ ]+[1-9]\d?%")
        shown.process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        said = shown.read()
        assert shown.process.wait() == 143
        assert time.monotonic() - asked < SOON
    assert "stopped; --resume continues" in said
    assert load_checkpoint(checkpoint)[1].training["steps_done"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_reading_of_images_soon(
    data_directory: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    command = [sys.executable, "-c", SLOW_READING, "window", "--data", str(data_directory)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "checking them before the first step" in process.stderr.readline()
        time.sleep(1)
        process.send_signal(number)
        asked = time.monotonic()
        said = process.stderr.read()
    assert process.returncode == status
    assert time.monotonic() - asked < SOON
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
