from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cxr_export.export import export_model
from cxr_export.parity import TOLERANCE, check_parity
from cxr_export.to_onnx import OPSET, to_onnx
from cxr_infer.errors import ModelError
from cxr_infer.model_card import MODEL_NAMES
from cxr_train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from cxr_train.models import build_model
from cxr_train.quantise import calibrate
from tests.conftest import REPOSITORY, Run

SMALL = {
    "original": {"encoder": [4, 4, 2], "decoder": [4, 4, 4, 4], "latent": 4},
    "new": {"encoder": [4, 4, 4, 2], "decoder": [4, 4, 4, 4], "latent": 4},
    "window": {"widths": [8, 8, 8, 8]},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of small untrained models."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, arguments in SMALL.items():
        info = CheckpointInfo(name, arguments, {"steps": 1}, {}, {"score": 0.0}, "0")
        model = build_model(name, arguments).eval()
        if name == "window":
            calibrate(model, torch.rand(1, 1, 64, 64), torch.tensor([0.05]))
        save_checkpoint(folder / name / "checkpoint.safetensors", model.state_dict(), info)
    return folder


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_an_export_is_one_self_describing_file(weights: Path, name: str) -> None:
    done = export_model(name, weights)
    model = onnx.load(done.path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [OPSET]
    names = ["noisy", "noise_level"] if name == "window" else ["noisy"]
    assert [value.name for value in model.graph.input] == names
    assert [value.name for value in model.graph.output] == ["denoised"]
    dimensions = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert isinstance(dimensions[0], str)
    assert dimensions[1] == 1
    assert all(isinstance(side, str) == (name == "window") for side in dimensions[2:])
    assert not any(entry.data_location == onnx.TensorProto.EXTERNAL for entry in model.graph.initializer)
    card = json.loads((weights / name / "card.json").read_text())
    inside = json.loads({entry.key: entry.value for entry in model.metadata_props}["cxr_infer"])
    assert inside.items() <= card.items()
    if name == "window":
        assert "8x8 blocks" in card["noise_level_recipe"]


@pytest.mark.parametrize("name", ["new", "window"])
def test_two_exports_are_byte_identical_and_hold_no_paths(weights: Path, name: str) -> None:
    first = export_model(name, weights).path.read_bytes()
    second = export_model(name, weights).path.read_bytes()
    assert first == second
    assert b"/" + b"work" not in first
    assert b"site-packages" not in first
    assert b".py" not in first


def test_parity_notices_a_wrong_weight(weights: Path) -> None:
    model, info = load_checkpoint(weights / "window" / "checkpoint.safetensors")
    exported, card = to_onnx(model, info)
    assert check_parity(model, exported, card).largest <= TOLERANCE
    with torch.no_grad():
        model.head.weight += 0.05
    assert not check_parity(model, exported, card).holds


def test_a_failed_export_keeps_the_old_file(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "window"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"old")
    with pytest.raises(ModelError, match="no such checkpoint"):
        export_model("window", tmp_path)
    (folder / "checkpoint.safetensors").write_bytes((weights / "new" / "checkpoint.safetensors").read_bytes())
    with pytest.raises(ModelError, match="holds the model new"):
        export_model("window", tmp_path)
    assert (folder / "model.onnx").read_bytes() == b"old"


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_shipped_onnx_file_is_the_shipped_checkpoint(name: str) -> None:
    folder = REPOSITORY / "weights" / name
    model, info = load_checkpoint(folder / "checkpoint.safetensors")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    inside = json.loads(session.get_modelmeta().custom_metadata_map["cxr_infer"])
    assert inside["training"] == info.training
    _, card = to_onnx(model, info)
    assert check_parity(model, onnx.load(folder / "model.onnx"), card).holds


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (2, 1, 96, 160)])
def test_opencv_loads_the_shipped_window_with_free_height_and_width(shape: tuple[int, ...]) -> None:
    path = REPOSITORY / "weights" / "window" / "model.onnx"
    noisy = np.random.default_rng(0).random(shape, dtype=np.float32)
    level = np.full(shape[0], 0.05, np.float32)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"noisy": noisy, "noise_level": level})
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(noisy, "noisy")
    network.setInput(level, "noise_level")
    np.testing.assert_allclose(network.forward("denoised").reshape(shape), expected, atol=TOLERANCE)


def test_the_command_prints_a_table_and_names_what_is_missing(run: Run, weights: Path, tmp_path: Path) -> None:
    done = run("cxr-export", "--all", "--weights", weights)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("torch's within") == 3
    assert done.stdout.count("int8") == 1
    missing = run("cxr-export", "window", "--weights", tmp_path)
    assert missing.returncode == 1
    assert "no such checkpoint; train one with `cxr-train`" in missing.stderr
    assert "Traceback" not in missing.stderr
    assert run("cxr-export").returncode == 2
    assert run("cxr-export", "old").returncode == 2
