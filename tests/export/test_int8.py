from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from cxr_export.export import export_int8
from cxr_export.int8 import store_integers
from cxr_export.loss import MOST_LOSS, Loss, measure_loss
from cxr_export.to_onnx import to_int8_onnx
from cxr_infer.errors import ModelError
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.model.card import ModelCard
from cxr_train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from cxr_train.models import build_model
from cxr_train.quantise import STEPS, QuantisedConv, calibrate, quantised
from tests.conftest import REPOSITORY

INPUTS = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0)), torch.tensor([0.03, 0.08])
SHALLOW = {"widths": [8, 8, 8, 8], "encoder_blocks": [1, 0, 0, 1], "decoder_blocks": [1, 0, 0]}
INFO = CheckpointInfo("window", SHALLOW, {}, {}, {}, "0")


def small_model() -> nn.Module:
    """An untrained model in which no block is an identity."""
    torch.manual_seed(0)
    model = build_model("window", SHALLOW).eval()
    for conv in model.modules():
        if isinstance(conv, QuantisedConv):
            conv.reset_parameters()
    return model


@pytest.fixture(scope="module")
def calibrated_model() -> nn.Module:
    model = small_model()
    calibrate(model, *INPUTS)
    return model


@pytest.fixture(scope="module")
def traced(calibrated_model: nn.Module) -> tuple[onnx.ModelProto, ModelCard]:
    """The traced model and its card, once for all tests: tracing takes seconds."""
    return to_int8_onnx(calibrated_model, INFO)


@pytest.fixture
def exported(traced: tuple[onnx.ModelProto, ModelCard]) -> onnx.ModelProto:
    assert traced[1].precision == "int8"
    return traced[0]


@pytest.fixture
def weights(tmp_path: Path, calibrated_model: nn.Module) -> Path:
    save_checkpoint(tmp_path / "window" / "checkpoint.safetensors", calibrated_model.state_dict(), INFO)
    return tmp_path


def check_integers(exported: onnx.ModelProto, model: nn.Module) -> None:
    """Check that the file's integers are the model's weights, each rounded to the nearest value of its grid."""
    stored = {t.name: numpy_helper.to_array(t) for t in exported.graph.initializer}
    integers = {name: array for name, array in stored.items() if name.endswith("weight.integers")}
    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, QuantisedConv)}
    head = convolutions.pop("head")
    assert integers.keys() == {f"{name}.weight.integers" for name in convolutions}
    for name, conv in convolutions.items():
        array = integers[f"{name}.weight.integers"]
        assert array.dtype == np.int8
        steps = stored[f"{name}.weight.steps"][:, None, None, None]
        np.testing.assert_allclose(array * steps, conv.weight.detach().numpy(), atol=0.501 * float(steps.max()))
        assert stored[f"{name}.bias.integers"].dtype == np.int32
        assert f"{name}.weight" not in stored
    # the last convolution computes 4x4 pixels from 2x2 positions: channels 0, 1 and, a row below, 4, 5 belong to the
    # first position; then come the same channels for the coarser grid
    (drawn,) = (n.removesuffix(".integers") for n, a in stored.items() if a.dtype == np.int8 and a.shape[-1] == 4)
    first_place = [0, 1, 4, 5]
    steps = stored[f"{drawn}.steps"][first_place, None, None, None]
    fine, coarse = np.split(stored[f"{drawn}.integers"], 2)
    np.testing.assert_array_equal(fine, coarse)
    fine_steps, coarse_steps = np.split(stored[f"{drawn}.steps"], 2)
    np.testing.assert_allclose(fine_steps, coarse_steps * model.WIDER, rtol=1e-6)
    array = fine[first_place] * steps
    np.testing.assert_allclose(array[..., :3, :3], head.weight.detach().numpy(), atol=0.501 * float(steps.max()))
    assert not array[..., 3, :].any()
    assert not array[..., 3].any()


def check_computes_as_on_grids(exported: onnx.ModelProto, model: nn.Module) -> None:
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    feed = dict(zip(("noisy", "noise_level"), (i.numpy() for i in INPUTS), strict=True))
    (found,) = session.run(None, feed)
    with torch.no_grad():
        plain = model(*INPUTS).numpy()
        with quantised(model):
            expected = model(*INPUTS).numpy()
    # a sum halfway between two grid values may be rounded either way, which changes less than the grids themselves
    assert np.abs(found - expected).mean() < 0.5 * np.abs(plain - expected).mean()


def test_the_file_stores_and_computes_what_training_computed_on_grids(
    exported: onnx.ModelProto, calibrated_model: nn.Module
) -> None:
    onnx.checker.check_model(exported, full_check=True)
    check_integers(exported, calibrated_model)
    check_computes_as_on_grids(exported, calibrated_model)


def test_sums_of_shipped_weights_overflow_on_no_cpu() -> None:
    """On x86 without VNNI two products are added in 16 bits, which onnxruntime can be asked to avoid."""
    model = onnx.load(REPOSITORY / "weights" / "window" / "model.int8.onnx")
    stored = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    weights = [array for array in stored if array.dtype == np.int8]
    assert len(weights) > 20
    for array in weights:
        neighbours = array.astype(int).transpose(0, 2, 3, 1).reshape(-1, 2)
        assert STEPS * np.maximum(neighbours, 0).sum(axis=1).max() < 1 << 15
        assert STEPS * np.minimum(neighbours, 0).sum(axis=1).min() >= -(1 << 15)
    clean = render_phantom(1, 256)
    noisy = np.minimum(poisson_mottle(clean, 20.0, np.random.default_rng(0)), 1).astype(np.float32)[None, None]
    results = []
    for exact in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", exact)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        results += session.run(None, {"noisy": noisy, "noise_level": np.array([0.11], dtype=np.float32)})
    np.testing.assert_array_equal(*results)


@pytest.mark.slow
def test_constants_shared_by_convolutions_are_stored_for_each() -> None:
    """Blocks that are still an identity have equal weights and biases, which the exporter merges."""
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    shared (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
    <float step = {0.1}, float wide = {0.5}, uint8 zero = {128},
     float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] b = {1, 2}>
    {
        a = QuantizeLinear(x, step, zero)
        c = DequantizeLinear(a, step, zero)
        d = Conv(c, w, b)
        e = QuantizeLinear(d, wide, zero)
        f = DequantizeLinear(e, wide, zero)
        g = Conv(f, w, b)
        h = QuantizeLinear(g, wide, zero)
        i = DequantizeLinear(h, wide, zero)
        y = Conv(i, w)
    }
    """
    model = onnx.parser.parse_model(text)
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert store_integers(model.graph) == 2
    onnx.checker.check_model(model, full_check=True)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(found, expected, atol=0.51 * 7)  # one step of the last grid, multiplied in the last sum
    assert [t.name for t in model.graph.initializer if t.name in ("w", "b")] == ["w"], (
        "the last convolution still reads floats"
    )


@pytest.mark.slow
def test_an_unproved_int8_file_is_removed(
    weights: Path, traced: tuple[onnx.ModelProto, ModelCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr_export.export.to_int8_onnx", lambda *a: traced)
    folder = weights / "window"
    names = ("model.onnx", "card.json", "model.int8.onnx", "card.int8.json")

    def older_files() -> None:
        for name in names:
            (folder / name).write_bytes(b"older")

    older_files()
    monkeypatch.setattr("cxr_export.export.measure_loss", lambda *a: Loss((0.0, 0.0, MOST_LOSS + 0.01, 0.0), 60, "x"))
    with pytest.raises(ModelError, match=r"no int8 file: loses 0\.000 / 0\.000 / 0\.110"):
        export_int8("window", weights)
    assert [(folder / name).exists() for name in names] == [True, True, False, False]
    older_files()
    save_checkpoint(folder / "checkpoint.safetensors", small_model().state_dict(), INFO)
    with pytest.raises(ModelError, match="8-bit grids not calibrated"):
        export_int8("window", weights)
    assert [(folder / name).exists() for name in names] == [True, True, False, False]


def test_the_limit_of_the_loss_holds_for_every_dose() -> None:
    assert Loss((0.1, -0.02, 0.0, 0.1), 44.0, "").holds
    assert not Loss((0.0, 0.0, 0.0, 0.101), 60.0, "").holds
    assert not Loss((0.0, 0.0, 0.0, 0.0), 43.9, "").holds
    for wrong in (np.nan, np.inf, -np.inf):
        for place in range(4):
            assert not Loss(tuple(wrong if i == place else 0.0 for i in range(4)), 60.0, "").holds, place
        assert not Loss((0.0, 0.0, 0.0, 0.0), wrong, "").holds


@pytest.mark.slow
def test_the_shipped_int8_file_matches_its_checkpoint_and_loses_little() -> None:
    """test_rebuilt.py shows that exporting it gives the same bytes."""
    folder = REPOSITORY / "weights" / "window"
    model, _ = load_checkpoint(folder / "checkpoint.safetensors")
    shipped = onnx.load(folder / "model.int8.onnx")
    check_integers(shipped, model)
    check_computes_as_on_grids(shipped, model)
    plain, integers = ((folder / name).read_bytes() for name in ("model.onnx", "model.int8.onnx"))
    assert len(integers) < len(plain)
    assert measure_loss(plain, integers, None).holds
