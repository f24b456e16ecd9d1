"""The log of a run: log.csv, curve.png, and TensorBoard if it is installed."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxr_infer.errors import ModelError
from cxr_train.config import CURVE, LOG, TrainConfig
from cxr_train.curve import draw_curve, log_ticks, ticks
from cxr_train.data import XrayFiles
from cxr_train.log import LOG_COLUMNS, TENSORBOARD, TrainingLog
from cxr_train.loop import train
from cxr_train.run import Progress

METRICS = {"psnr_q71": 30.0, "psnr_q71_int8": 29.5, "score": -30.0}


def rows_of(directory: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((directory / LOG).read_text())))


def progress(step: int, metrics: dict[str, float] | None = None, **others: Any) -> Progress:
    return Progress(step=step, seconds=60.0 * step, loss=1 / step, metrics=metrics, **others)


def write_log(directory: Path, steps: range, begun_at: int = 0, validated: tuple[int, ...] = ()) -> None:
    log = TrainingLog(directory, begun_at)
    metrics = None
    for step in steps:
        metrics = METRICS | {"score": float(-step)} if step in validated else metrics
        log.note(progress(step, metrics, validation_images=4), 0.001)
    log.close()


@pytest.fixture(autouse=True)
def _without_tensorboard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "board" not in request.node.name:
        monkeypatch.setattr("cxr_train.log._tensorboard", lambda directory, step: None)


def test_the_log_has_a_row_per_ten_steps_and_per_validation(tmp_path: Path) -> None:
    write_log(tmp_path, range(1, 36), validated=(15, 30))
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == ["10", "15", "20", "30"]
    assert list(rows[0]) == [*LOG_COLUMNS, *METRICS]
    assert [row["score"] for row in rows] == ["", "-15", "", "-30"]
    assert [row["validation_images"] for row in rows] == ["", "4", "", "4"]
    assert [float(row["loss"]) for row in rows] == pytest.approx([0.1, 1 / 15, 0.05, 1 / 30], rel=1e-5)
    assert [float(row["minutes"]) for row in rows] == [10, 15, 20, 30]
    assert {row["learning_rate"] for row in rows} == {"0.001"}


def test_a_resumed_run_continues_its_log_from_its_state(tmp_path: Path) -> None:
    write_log(tmp_path / "whole", range(1, 51), validated=(25,))
    # ended at step 40, but its last state is that of step 28
    write_log(tmp_path / "parts", range(1, 41), validated=(25,))
    write_log(tmp_path / "parts", range(29, 51), begun_at=28)
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")


def test_an_unchanged_log_is_not_rewritten(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, 0)
    log.note(progress(10, METRICS), 0.001)
    assert [row["step"] for row in rows_of(tmp_path)] == ["10"], "written immediately after a validation"
    (tmp_path / LOG).unlink()
    log.write()
    assert not (tmp_path / LOG).exists(), "writing it again would cost the run time"
    log.note(progress(20, METRICS), 0.001)
    log.close()
    assert [row["step"] for row in rows_of(tmp_path)] == ["10", "20"]


def test_a_new_run_does_not_continue_an_existing_log(tmp_path: Path) -> None:
    write_log(tmp_path, range(1, 41))
    write_log(tmp_path, range(1, 11))
    assert [row["step"] for row in rows_of(tmp_path)] == ["10"]


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "step,loss\nfirst,1\n", "step,loss\n10,high\n", "\x00", "step\n1\n1,2\n"]
)
def test_a_damaged_log_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / LOG).write_text(content)
    with pytest.raises(ModelError, match=r"^\S+log\.csv: damaged log; move it away to resume the run without it$"):
        TrainingLog(tmp_path, 5)


def test_the_curve_shows_loss_and_validations(tmp_path: Path) -> None:
    rows = [{"step": float(step), "loss": 1 / step} for step in range(10, 200, 10)]
    rows[5] |= {"psnr_q71": 30.0, "psnr_q71_int8": 29.0}
    rows[-1] |= {"psnr_q71": 33.0, "psnr_q71_int8": 32.0}
    picture = np.asarray(Image.open(io.BytesIO(draw_curve(rows))))
    blue = (picture == (0x1B, 0x6C, 0xA8)).all(axis=2)
    upper, lower = np.array_split(blue, 2)
    assert upper.sum() > 500
    assert lower.sum() > 500
    falls, rises = (np.polyfit(*np.nonzero(half)[::-1], 1)[0] for half in (upper[:, :740], lower[:, :740]))
    assert falls > 0 > rises, "the y axis points down: the loss falls, the PSNR rises"
    assert not (picture == (0xC0, 0x39, 0x2B)).all(axis=2).any(), "int8 has no curve of its own"


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_figures_that_cannot_be_drawn_are_left_out(value: float) -> None:
    bare = draw_curve([{"step": 1.0}])
    assert draw_curve([{"step": 1.0, "loss": value}]) == bare, "the axis of the loss is logarithmic"
    assert (draw_curve([{"step": 1.0, "psnr_q71": value}]) == bare) is not math.isfinite(value)
    assert draw_curve([{"step": 1.0, "loss": 1.0}]) != bare


def test_ticks_are_round_and_few() -> None:
    assert ticks(0, 20000) == [0, 5000, 10000, 15000, 20000]
    assert ticks(-1.3, 0.4) == pytest.approx([-1.0, -0.5, 0.0])
    assert all(2 <= len(ticks(0, 1.37**power)) <= 7 for power in range(-30, 30))
    assert [round(10**value, 9) for value in log_ticks(-1.1, 0.4)] == [0.1, 0.2, 0.5, 1, 2]
    assert log_ticks(-8.5, 2.5) == list(range(-8, 3))
    assert log_ticks(0.31, 0.32) == ticks(0.31, 0.32) != []


@pytest.mark.slow
def test_training_writes_log_and_curve(files: XrayFiles, small_config: TrainConfig, tmp_path: Path) -> None:
    assert train(replace(small_config, steps=2, validate_every=1), files, tmp_path)
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(float(row["psnr_q71"]) > 10 for row in rows)
    with Image.open(tmp_path / CURVE) as picture:
        assert picture.format == "PNG"


def test_diverging_training_leaves_its_log(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr_train.log.LOG_EVERY", 1)
    monkeypatch.setattr("cxr_train.tasks.WindowTask.validate", lambda *given: {"score": math.nan})
    with pytest.raises(ModelError, match="diverged"):
        train(small_config, files, tmp_path)
    assert [row["step"] for row in rows_of(tmp_path)] == ["1", "2"]


def test_tensorboard_has_the_same_figures_if_installed(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        write_log(tmp_path, range(1, 11))
        assert not (tmp_path / TENSORBOARD).exists()
        pytest.skip("needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_log(tmp_path, range(1, 31), validated=(30,))
    read = EventAccumulator(str(tmp_path / TENSORBOARD))
    read.Reload()
    assert [event.step for event in read.Scalars("loss")] == [10, 20, 30]
    assert [event.value for event in read.Scalars("psnr_q71")] == [30.0]
