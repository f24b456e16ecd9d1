"""Checkpoints and training states are untrusted files: invalid ones are refused in one line that names the file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cxr_infer.errors import ModelError
from cxr_infer.model.card import CHECKPOINT
from cxr_train.checkpoint import (
    HEADER_KEY,
    CheckpointInfo,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    start_file,
    start_from,
)
from cxr_train.config import STATE_FILE, TrainConfig
from cxr_train.data import XrayFiles
from cxr_train.loop import saved_config, train
from cxr_train.models import build_model
from tests.conftest import REPOSITORY
from tests.train.conftest import same_weights

SMALL = {"encoder": [4, 4, 2], "decoder": [4, 4, 4, 4], "latent": 4}
INFO: dict[str, Any] = CheckpointInfo("original", SMALL, {"steps": 1}, {}, {"score": 0.5}, "0").__dict__
DEEP = "[" * 200_000 + "]" * 200_000


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return build_model("original", SMALL).state_dict()


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], header: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, metadata={HEADER_KEY: header if isinstance(header, str) else json.dumps(header)})
    return path


@pytest.mark.parametrize("header", [DEEP, '{"model": ' + DEEP + "}", "[]", '{"model": 1e999}', "1" * 50_000, "{", ""])
def test_hostile_headers_are_refused_in_one_line(tmp_path: Path, weights: dict[str, torch.Tensor], header: str) -> None:
    path = write_checkpoint(tmp_path / "x.safetensors", weights, header)
    for read in (load_checkpoint, read_tensors, lambda path: start_from(build_model("original", SMALL), path)):
        with pytest.raises(ModelError, match=r"^\S+x\.safetensors: damaged, or not a checkpoint of cxr-train; "):
            read(path)


@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_directories_and_devices_are_refused_without_waiting(
    tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    for name in ("x.safetensors", STATE_FILE):
        plant(tmp_path / name)
    with pytest.raises(ModelError, match=r"^\S+x\.safetensors: "):
        load_checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=rf"^\S+{STATE_FILE}: "):
        saved_config(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {"encoder": [4, 4, 2], "decoder": [4, 4, 4, 4], "latent": 4095}},  # 60 MB and more
        {"arguments": {"encoder": [4096, 4096, 4096], "decoder": [4, 4, 4, 4], "latent": 4096}},  # 275 GB
        {"arguments": {"encoder": [4] * 5000}},
        {"arguments": {"encoder": [10**9]}},
        {"model": "window", "arguments": {"encoder_blocks": [10**12, 1, 1, 1]}},
        {"arguments": {"latent": -5}},
        {"arguments": {"latent": "many"}},
        {"arguments": {"unknown": 1}},
        {"arguments": []},
        {"model": ["original"]},
        {"training": "long"},
        {"metrics": {"score": "high"}},
        {"metrics": []},
        {"code_version": 5},
        {"more": 1},
    ],
    ids=str,
)
def test_headers_of_oversized_or_other_models_are_refused_quickly(
    tmp_path: Path, weights: dict[str, torch.Tensor], change: dict[str, Any]
) -> None:
    path = write_checkpoint(tmp_path / "x.safetensors", weights, INFO | change)
    started = time.process_time()
    with pytest.raises(ModelError, match=r"^\S+x\.safetensors: [^\n]+$"):
        load_checkpoint(path)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_non_finite_values_are_refused(
    tmp_path: Path, weights: dict[str, torch.Tensor], wrong: float, kind: torch.dtype
) -> None:
    spoilt = {name: tensor.to(kind, copy=True) for name, tensor in weights.items()}
    spoilt["encoder.to_code.bias"][1] = wrong
    path = write_checkpoint(tmp_path / "x.safetensors", spoilt, INFO)
    for read in (load_checkpoint, lambda path: start_from(build_model("original", SMALL), path)):
        with pytest.raises(ModelError, match=r"to_code\.bias contains non-finite values; train the model again"):
            read(path)


def test_values_that_overflow_float32_are_refused(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    large = weights | {"encoder.to_code.bias": torch.full((4,), 1e300, dtype=torch.float64)}
    with pytest.raises(ModelError, match="non-finite"):
        load_checkpoint(write_checkpoint(tmp_path / "x.safetensors", large, INFO))


def test_an_intact_checkpoint_is_accepted(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_checkpoint(tmp_path / "x.safetensors", weights, CheckpointInfo(**INFO))
    model, info = load_checkpoint(tmp_path / "x.safetensors")
    assert info.__dict__ == INFO
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.slow
def test_training_starts_from_a_shipped_model_a_run_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "window").mkdir()  # the name means the shipped model, even if a directory of that name exists
    assert start_file("window") == REPOSITORY / "weights" / "window" / CHECKPOINT
    assert start_file("./window") == Path("window") / CHECKPOINT
    assert start_file("other.safetensors") == Path("other.safetensors")
    model = build_model("window")
    start_from(model, start_file("window"))
    assert same_weights(model, load_checkpoint(REPOSITORY / "weights" / "window" / CHECKPOINT)[0])


def change_state(path: Path, change: dict[str, Any]) -> None:
    tensors, header = read_tensors(path)
    for key, value in change.items():
        place, *rest = key.split(".")
        if not rest:
            header[place] = value
        elif value is None:
            del header[place][rest[0]]
        else:
            header[place][rest[0]] = value
    write_checkpoint(path, tensors, header)


@pytest.mark.parametrize(
    "change",
    [
        *({"config": value} for value in ([], None, "text", {})),
        {"config.steps": "many"},
        {"config.arguments": 5},
        {"config.noise": []},
        {"config.noise": {"lowest_dose": "low"}},
        {"config.unknown": 1},
        {"config.seed": True},
    ],
    ids=str,
)
def test_invalid_configurations_in_a_state_are_refused_in_one_line(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / STATE_FILE
    write_checkpoint(path, {"x": torch.zeros(1)}, {"config": json.loads(json.dumps(small_config, default=vars))})
    assert saved_config(tmp_path) == small_config
    change_state(path, change)
    with pytest.raises(
        ModelError, match=r"^\S+state\.safetensors: damaged, or written by another version; start a new "
    ):
        saved_config(tmp_path)


@pytest.mark.slow
def test_invalid_progress_in_a_state_is_refused_in_one_line(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path
) -> None:
    assert not train(small_config, files, tmp_path, stopped=iter([False, True, True]).__next__)
    path = tmp_path / STATE_FILE
    whole = path.read_bytes()
    wrongs: list[dict[str, Any]] = [{"progress": value} for value in ([], None, "text", {}, 5)]
    wrongs += [{"progress.step": value} for value in ("1", -1, 1.5, None)]
    wrongs += [{"progress.seconds": value} for value in ("long", -1, [])]
    wrongs += [{"best": "good"}]
    for change in wrongs:
        path.write_bytes(whole)
        change_state(path, change)
        with pytest.raises(ModelError, match=r"^\S+state\.safetensors: damaged, or written by another version; start"):
            train(small_config, files, tmp_path, resume=True)
    path.write_bytes(whole)
    assert train(small_config, files, tmp_path, resume=True)


@pytest.mark.slow
def test_a_run_stopped_before_its_first_step_can_be_resumed(
    files: XrayFiles, small_config: TrainConfig, tmp_path: Path
) -> None:
    """Its loss is still NaN, which JSON cannot represent."""
    assert not train(small_config, files, tmp_path, stopped=lambda: True)
    assert train(small_config, files, tmp_path, resume=True)
