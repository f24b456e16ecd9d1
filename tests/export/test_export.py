from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cxr_export.export import export_int8, export_model
from cxr_export.parity import TOLERANCE, check_parity
from cxr_export.to_onnx import OPSET
from cxr_infer.errors import ModelError
from cxr_infer.model.card import MODEL_NAMES, NOISE_LEVEL_FILE, ModelCard, card_path, read_card_file
from cxr_train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from cxr_train.models import build_model
from cxr_train.quantise import calibrate
from tests.conftest import REPOSITORY, Run

SMALL = {
    "original": {"encoder": [4, 4, 2], "decoder": [4, 4, 4, 4], "latent": 4},
    "new": {"encoder": [4, 4, 4, 2], "decoder": [4, 4, 4, 4], "latent": 4},
    "window": {"widths": [8, 8, 8, 8], "encoder_blocks": [1, 0, 0, 1], "decoder_blocks": [1, 0, 0]},
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


@pytest.fixture(scope="module")
def exports(weights: Path) -> dict[str, bytes]:
    """The files exported from these checkpoints, once for all tests: tracing takes seconds."""
    return {name: export_model(name, weights).path.read_bytes() for name in MODEL_NAMES}


def card_of(path: Path) -> ModelCard:
    return ModelCard.from_mapping(read_card_file(card_path(path)), str(path))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_an_export_is_one_self_describing_file(weights: Path, exports: dict[str, bytes], name: str) -> None:
    model = onnx.load_from_string(exports[name])
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


def test_parity_fails_for_a_wrong_weight(weights: Path, exports: dict[str, bytes]) -> None:
    model, _ = load_checkpoint(weights / "window" / "checkpoint.safetensors")
    exported, card = onnx.load_from_string(exports["window"]), card_of(weights / "window" / "model.onnx")
    assert check_parity(model, exported, card).largest <= TOLERANCE
    with torch.no_grad():
        model.head.weight += 0.05
    assert not check_parity(model, exported, card).holds


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_parity_fails_for_non_finite_values(weights: Path, exports: dict[str, bytes], wrong: float) -> None:
    model, _ = load_checkpoint(weights / "window" / "checkpoint.safetensors")
    exported, card = onnx.load_from_string(exports["window"]), card_of(weights / "window" / "model.onnx")
    with torch.no_grad():
        model.head.bias[0] = wrong
    assert not check_parity(model, exported, card).holds, "only torch returns them"
    spoilt = next(tensor for tensor in exported.graph.initializer if tensor.name.endswith(".bias"))
    spoilt.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(spoilt.dims), wrong, np.float32), spoilt.name))
    assert not check_parity(model, exported, card).holds, "both return them"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tensor"), [("original", "encoder.to_code.bias"), ("window", "head.weight")])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_non_finite_weights_do_not_replace_a_good_file(
    weights: Path, tmp_path: Path, name: str, tensor: str, wrong: float
) -> None:
    model, info = load_checkpoint(weights / name / "checkpoint.safetensors")
    state = model.state_dict()
    state[tensor].view(-1)[-1] = wrong
    save_checkpoint(tmp_path / name / "checkpoint.safetensors", state, info)
    (tmp_path / name / "model.onnx").write_bytes(b"good")
    for export in (export_model, export_int8):
        with pytest.raises(
            ModelError, match=f"safetensors: {tensor} contains non-finite values; train the model again"
        ):
            export(name, tmp_path)
    assert (tmp_path / name / "model.onnx").read_bytes() == b"good"


@pytest.mark.slow
def test_a_failed_export_keeps_the_old_file(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "window"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"old")
    with pytest.raises(ModelError, match="no such checkpoint"):
        export_model("window", tmp_path)
    (folder / "checkpoint.safetensors").write_bytes((weights / "new" / "checkpoint.safetensors").read_bytes())
    with pytest.raises(ModelError, match="contains the model new; move it to "):
        export_model("window", tmp_path)
    assert (folder / "model.onnx").read_bytes() == b"old"


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_shipped_onnx_file_matches_the_shipped_checkpoint(name: str) -> None:
    folder = REPOSITORY / "weights" / name
    model, info = load_checkpoint(folder / "checkpoint.safetensors")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    inside = json.loads(session.get_modelmeta().custom_metadata_map["cxr_infer"])
    assert inside["training"] == info.training
    assert check_parity(model, onnx.load(folder / "model.onnx"), card_of(folder / "model.onnx")).holds


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


def test_the_command_exports_the_same_bytes_again_without_paths(
    run: Run, weights: Path, exports: dict[str, bytes], data_directory: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(weights, again, ignore=shutil.ignore_patterns("*.onnx", "card*.json"))
    done = run("cxr-export", "--all", "--weights", again, "--data", data_directory)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of torch (") == 3
    assert done.stdout.count("int8") == 1
    assert "validation X-rays" in done.stdout
    assert f"noise estimate: {again / NOISE_LEVEL_FILE}" in done.stdout
    assert json.loads((again / "window" / "card.int8.json").read_text())["precision"] == "int8"
    for name, first in exports.items():
        assert (again / name / "model.onnx").read_bytes() == first, name
        assert b"/" + b"work" not in first
        assert b"site-packages" not in first
        assert b".py" not in first


@pytest.mark.slow
def test_missing_checkpoints_and_unknown_models_are_refused(run: Run, tmp_path: Path) -> None:
    missing = run("cxr-export", "window", "--weights", tmp_path)
    assert missing.returncode == 1
    assert "no such checkpoint; train one with `cxr-train`" in missing.stderr
    assert "Traceback" not in missing.stderr
    assert run("cxr-export").returncode == 2
    assert run("cxr-export", "old").returncode == 2
