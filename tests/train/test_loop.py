from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_infer.errors import ModelError, UsageError
from cxr_infer.model.card import CHECKPOINT
from cxr_train.checkpoint import load_checkpoint, read_tensors
from cxr_train.config import TrainConfig
from cxr_train.data import XrayFiles, XrayImages, find_xrays
from cxr_train.loop import STATE, Progress, saved_config, train
from cxr_train.models import build_model
from cxr_train.quantise import calibrated
from cxr_train.samples import WholeImageSamples, WindowSamples
from cxr_train.warm_start import warm_start
from tests.conftest import Run
from tests.train.conftest import same_weights


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    return read_tensors(directory / STATE)[0]


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(files: XrayFiles, small_config: TrainConfig, tmp_path: Path) -> None:
    assert train(small_config, files, tmp_path / "whole")
    done = Progress()

    def note(progress: Progress) -> None:
        done.step = progress.step

    assert not train(small_config, files, tmp_path / "parts", on_step=note, stopped=lambda: done.step == 4)
    assert train(small_config, files, tmp_path / "parts", resume=True)
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name in whole:
        assert torch.equal(whole[name], parts[name]), name
    ours, theirs = (load_checkpoint(tmp_path / run / CHECKPOINT) for run in ("whole", "parts"))
    assert same_weights(ours[0], theirs[0])
    assert ours[1].metrics == theirs[1].metrics


@pytest.mark.slow
def test_the_seed_determines_the_weights(files: XrayFiles, small_config: TrainConfig, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(replace(small_config, seed=seed), files, tmp_path / name)
    a, b, c = (load_checkpoint(tmp_path / name / CHECKPOINT)[0] for name in "abc")
    assert same_weights(a, b)
    assert not same_weights(a, c)


@pytest.mark.slow
def test_training_improves_and_keeps_the_best_weights(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path
) -> None:
    seen: list[float] = []

    def note(progress: Progress) -> None:
        if progress.metrics and progress.metrics["score"] not in seen:
            seen.append(progress.metrics["score"])

    config = replace(small_config, steps=120, validate_every=30, batch=8, learning_rate=1e-2, ema=0.8)
    train(config, files, tmp_path, on_step=note)
    assert len(seen) == 4
    assert min(seen) < seen[0] - 0.25, "the score, minus the PSNR in dB, improves by more than 0.25 dB"
    _, info = load_checkpoint(tmp_path / CHECKPOINT)
    assert info.metrics["score"] == min(seen)
    assert info.training["steps_done"] % 30 == 0
    assert info.data["fingerprint"] == files.fingerprint()
    assert info.training["learning_rate"] == 1e-2
    assert saved_config(tmp_path) == config


def test_a_run_is_neither_overwritten_nor_continued_on_other_data(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path, data_directory: Path
) -> None:
    with pytest.raises(ModelError, match="nothing to resume"):
        saved_config(tmp_path)
    train(replace(small_config, steps=1), files, tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        train(small_config, files, tmp_path)
    other = find_xrays(data_directory / "images_000")
    with pytest.raises(UsageError, match="other data"):
        train(small_config, other, tmp_path, resume=True)


@pytest.mark.slow
def test_the_warm_start_reproduces_the_mean_image(files: XrayFiles) -> None:
    config = TrainConfig("new", batch=4, size=512, warm_start_draws=1)
    samples = WholeImageSamples(XrayImages(files.require("train")[:8], 512), config)
    torch.manual_seed(0)
    cold, warm = (build_model("new", {"latent": 4}).eval() for _ in range(2))
    warm_start(warm.encoder, warm.decoder, samples)
    batch = samples.batch(0)
    with torch.no_grad():
        errors = [(m(batch.noisy) - batch.clean).square().mean().item() for m in (cold, warm)]
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.slow
def test_the_command_trains_stops_on_sigterm_and_resumes(run: Run, data_directory: Path, tmp_path: Path) -> None:
    arguments = ["window", "--data", data_directory, "--batch", "1", "--crop", "96", "--steps", "100000"]
    code = "from cxr_train.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        deadline = time.monotonic() + 90
        while not re.search(r"step \d", process.stderr.readline()) and time.monotonic() < deadline:
            pass
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 143, said
    assert "--resume continues" in said
    done_steps = read_tensors(tmp_path / "runs" / "window" / STATE)[1]["progress"]["step"]
    assert done_steps > 0
    more = ["--steps", str(done_steps + 2), "--crop", "64", "--learning-rate", "1e-4"]
    resumed = run("cxr-train", "window", "--data", data_directory, "--resume", *more)
    assert resumed.returncode == 0, resumed.stderr
    assert "best weights: runs/window/checkpoint.safetensors" in resumed.stdout
    training = load_checkpoint(tmp_path / "runs" / "window" / CHECKPOINT)[1].training
    assert (training["steps_done"], training["crop"], training["learning_rate"]) == (done_steps + 2, 64, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["window", "--data", "nowhere"], "nowhere: no such directory"),
        (["window", "--data", "."], "no images found"),
        (["window", "--data", ".", "--resume"], "nothing to resume"),
        (["window", "--data", ".", "--steps", "0"], "--steps 0 is invalid; use a finite number"),
        (
            ["window", "--data", ".", "--learning-rate", "-1"],
            "--learning-rate -1.0 is invalid; use a finite number above 0",
        ),
        (
            ["window", "--data", ".", "--learning-rate", "nan"],
            "--learning-rate nan is invalid; use a finite number above 0",
        ),
        (["window", "--data", ".", "--minutes", "inf"], "--minutes inf is invalid; use a finite number"),
        (["window", "--data", ".", "--crop", "16"], "--crop 16 px is too small"),
        (["evaluate", "--data", ".", "--weights", "."], "no MODEL/checkpoint.safetensors"),
        (["window", "--data", ".", "--seed", "-1"], "--seed -1 is negative"),
        (["window", "--data", ".", "--workers", "-1"], "--workers -1 is negative"),
        (["evaluate", "--data", ".", "-n", "0"], "--images 0"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(run: Run, arguments: list[str], problem: str) -> None:
    done = run("cxr-train", *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_evaluate_prints_the_published_comparison(run: Run, data_directory: Path, tmp_path: Path) -> None:
    done = run("cxr-train", "evaluate", "--data", data_directory, "-n", "1", "--json", "scores.json")
    assert done.returncode == 0, done.stderr
    for word in ("published, saturating", "noisy", "original", "new", "window, int8", "OpenCV NLM", "0.013"):
        assert word in done.stdout
    assert (tmp_path / "scores.json").is_file()


@pytest.mark.slow
def test_one_model_is_evaluated_in_both_precisions_and_written_to_csv(
    run: Run, data_directory: Path, tmp_path: Path
) -> None:
    asked = ["--model", "window", "-n", "1", "--json", "scores.json", "--csv", "scores.csv"]
    done = run("cxr-train", "evaluate", "--data", data_directory, *asked)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert [row["method"] for row in rows] == ["window", "window, int8"] * (len(rows) // 2)
    assert [float(row["psnr"]) for row in rows] == [score["psnr"] for score in scores]
    published = [row["published_mse"] for row in rows if row["noise"].startswith("published")]
    assert published == ["0.013", ""] * 2, "the published model ran in floating point"
    float32, int8 = (float(rows[i]["psnr"]) for i in (0, 1))
    assert float32 != int8
    assert float32 == pytest.approx(int8, abs=0.5)


@pytest.mark.slow
def test_a_run_starts_from_given_weights_and_records_no_path(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path
) -> None:
    train(small_config, files, tmp_path / "first")
    start = tmp_path / "first" / CHECKPOINT
    train(replace(small_config, start=str(start), steps=1, learning_rate=0.0), files, tmp_path / "second")
    first, second = (load_checkpoint(tmp_path / run / CHECKPOINT) for run in ("first", "second"))
    assert same_weights(first[0], second[0])
    assert second[1].training["start"] == CHECKPOINT


def test_diverging_training_stops_with_advice(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr_train.tasks.expected_error", lambda level, shape: level.mean() * float("nan"))
    with pytest.raises(ModelError, match=r"diverged at step 1 \(the loss is nan\); .*--learning-rate below 0\.001"):
        train(small_config, files, tmp_path)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_non_finite_validation_score_stops_training(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    """A score of NaN would never count as better, and no later score could be better than -inf."""
    figures = {"psnr_clean": 40.0, "score": wrong}
    monkeypatch.setattr("cxr_train.tasks.WindowTask.validate", lambda *given: figures)
    with pytest.raises(
        ModelError, match=r"diverged at step \d+ \(validation's score is -?(nan|inf)\); .*--learning-rate"
    ):
        train(replace(small_config, validate_every=1), files, tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


def test_training_without_a_gradient_stops_with_advice(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr_train.tasks.expected_error", lambda level, shape: level.mean() * float("inf"))
    with pytest.raises(ModelError, match="no gradient reached the weights at step 1; train with another release of"):
        train(replace(small_config, ssim_weight=0.0, map_weight=0.0, line_weight=0.0, pairs=0), files, tmp_path)


@pytest.mark.slow
def test_quantised_steps_train_the_8_bit_grids(files: XrayFiles, small_config: TrainConfig, tmp_path: Path) -> None:
    for share in (0.0, 0.5):
        config = replace(small_config, steps=10, quantised_share=share, learning_rate=1e-2)
        train(config, files, tmp_path / f"{share}")
        model, info = load_checkpoint(tmp_path / f"{share}" / CHECKPOINT)
        assert calibrated(model), "calibrated from the first step on"
        assert {f"psnr_{kind}{suffix}" for kind in ("q71", "clean") for suffix in ("", "_int8")} <= info.metrics.keys()
    moved = [
        {name: tensor for name, tensor in weights_of(tmp_path / run).items() if name.endswith("entered.log_step")}
        for run in ("0.0", "0.5")
    ]
    assert len({tensor.item() for tensor in moved[0].values()}) == 1, "grids that no step uses stay as calibrated"
    assert len({tensor.item() for tensor in moved[1].values()}) > 1


def test_quantised_steps_occur_at_the_given_rate(files: XrayFiles, small_config: TrainConfig) -> None:
    samples = WindowSamples(XrayImages(files.require("train")), replace(small_config, quantised_share=0.3))
    assert 0.15 < np.mean([samples.batch(step).quantised for step in range(100)]) < 0.45


@pytest.mark.slow
def test_a_batch_too_large_for_memory_is_reported_in_one_line(data_directory: Path, tmp_path: Path) -> None:
    code = (
        "import torch, cxr_train.loop; cxr_train.loop.prepare = lambda *_, **__: torch.empty(1 << 50); "
        "from cxr_train.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "window", "--data", data_directory, "--out", tmp_path, "--batch", "3000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: window: not enough memory for --batch 3000; use a smaller --batch"
    assert "Traceback" not in done.stderr
