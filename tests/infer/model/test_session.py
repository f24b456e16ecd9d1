"""Untrusted ONNX files: each is refused in one line that names the problem, in bounded time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxr_infer import ImageError, ModelError, load_model
from cxr_infer.formats.readers import write_image
from cxr_infer.model.card import METADATA_KEY, ModelCard, read_card_file, sha256
from cxr_infer.model.manifest import MANIFEST, read_manifest
from cxr_infer.model.session import open_session, read_model
from cxr_infer.settings import Settings
from tests.conftest import Run

onnx = pytest.importorskip("onnx")

FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
FREE = ("batch", 1, "height", "width")
PATIENCE = 300  # s; a test that takes longer was waiting for an endless computation


def saved(path: Path, *nodes: object, kind: int = FLOAT, shape: tuple[object, ...] = FREE, **more: object) -> Path:
    """A model `noisy` -> `denoised` of these nodes."""
    graph = onnx.helper.make_graph(
        list(nodes),
        "graph",
        [onnx.helper.make_tensor_value_info("noisy", kind, list(shape))],
        [onnx.helper.make_tensor_value_info("denoised", kind, list(more.pop("out", shape)))],
        list(more.pop("weights", ())),
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path, **more)
    return path


def node(kind: str, inputs: list[str], output: str = "denoised", **attributes: object) -> object:
    return onnx.helper.make_node(kind, inputs, [output], **attributes)


def number(value: object, kind: type, name: str) -> object:
    return onnx.numpy_helper.from_array(np.array(value, kind), name)


def one_long_operator(path: Path) -> Path:
    """A model with an operator that runs for over a quarter of an hour and ignores requests to end."""
    return saved(
        path,
        node("ReduceMean", ["noisy"], "mean"),
        node("Expand", ["mean", "shape"], "large"),
        node("MaxPool", ["large"], "pooled", kernel_shape=[1000, 1000]),
        node("ReduceMean", ["pooled"], "level", keepdims=0),
        node("Mul", ["level", "zero"], "nothing"),
        node("Add", ["noisy", "nothing"]),
        weights=[number([1, 1, 2000, 2000], np.int64, "shape"), number(0, np.float32, "zero")],
    )


def test_weights_in_another_file_are_not_fetched(run: Run, tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.full((1, 1, 1, 1), 2, np.float32), "weight")
    external = {"save_as_external_data": True, "size_threshold": 0, "location": "secret.bin"}
    path = saved(tmp_path / "x.onnx", node("Mul", ["noisy", "weight"]), weights=[weight], **external)
    assert (tmp_path / "secret.bin").is_file()
    with pytest.raises(ModelError, match="weights in another file"):
        load_model(path)
    with pytest.raises(ModelError, match="cannot load it"):  # onnxruntime refuses it too
        open_session(path.read_bytes(), path, 1)
    write_image(tmp_path / "x" / "a.png", np.zeros((9, 9), np.uint8))
    done = run("cxr-infer", "dir", "x", "--model", path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "x-denoised").exists()


def test_wrong_types_and_axes_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.onnx", node("Identity", ["noisy"]), kind=DOUBLE)
    with pytest.raises(ModelError, match=r"noisy is tensor\(double\)"):
        load_model(path)
    path = saved(tmp_path / "x.onnx", node("Identity", ["noisy"]), shape=("height", "width"))
    with pytest.raises(ModelError, match="2 axes"):
        load_model(path)


def test_a_trial_refuses_models_that_do_not_denoise(tmp_path: Path) -> None:
    path = saved(tmp_path / "nan.onnx", node("Log", ["noisy"]))
    with pytest.raises(ModelError, match="non-finite values"):
        load_model(path)
    axes = onnx.numpy_helper.from_array(np.array([2], np.int64), "axes")
    path = saved(tmp_path / "flat.onnx", node("ReduceMean", ["noisy", "axes"]), weights=[axes], out=("n", 1, 1, "w"))
    with pytest.raises(ModelError, match=r"returned shape \(1, 1, 1, 64\) for input \(1, 1, 64, 64\)"):
        load_model(path)
    shape = onnx.numpy_helper.from_array(np.array([7, 7, 7, 7], np.int64), "shape")
    path = saved(tmp_path / "fails.onnx", node("Reshape", ["noisy", "shape"]), weights=[shape])
    with pytest.raises(ModelError, match="failed on 64x64 pixels"):
        load_model(path)


def test_faults_that_a_trial_misses_are_caught_on_the_image(tmp_path: Path) -> None:
    """These models pass on a small gradient; on an image they must raise an error, not write garbage."""
    numbers = {"least": 0.4, "start": [0, 0], "end": [64, 64], "axes": [2, 3]}
    weights = [
        onnx.numpy_helper.from_array(np.array(value, np.float32 if name == "least" else np.int64), name)
        for name, value in numbers.items()
    ]
    path = saved(tmp_path / "cut.onnx", node("Slice", ["noisy", "start", "end", "axes"]), weights=weights[1:])
    dark = np.full((80, 80), 0.1, np.float32)
    with pytest.raises(ModelError, match=r"returned shape \(1, 1, 64, 64\) for input \(1, 1, 80, 80\)"):
        load_model(path).denoise_unit(dark, Settings())
    nodes = (
        node("ReduceMean", ["noisy"], "mean"),
        node("Sub", ["mean", "least"], "rest"),
        node("Sqrt", ["rest"], "nan"),
    )
    path = saved(tmp_path / "nan.onnx", *nodes, node("Mul", ["noisy", "nan"]), weights=weights[:1])
    with pytest.raises(ModelError, match="non-finite values"):
        load_model(path).denoise_unit(dark, Settings())
    path = saved(
        tmp_path / "beyond.onnx",
        node("Add", ["noisy", "noisy"], "two"),
        node("Sub", ["two", "least"]),
        weights=weights[:1],
    )
    denoised = load_model(path).denoise_unit(np.linspace(0, 1, 6400, dtype=np.float32).reshape(80, 80), Settings())
    assert (denoised.min(), denoised.max()) == (0, 1)


# the part of the command that tries a model, with little time
TRIAL = """
import sys
from pathlib import Path
from cxr_infer.model.session import *
path = Path(sys.argv[1])
session = open_session(read_model(path), path, 1)
try:
    try_on_small_image(session, card_of(session, path), path, seconds=0.5)
except ModelError as error:
    print(error)
"""


def stderr_of_a_trial_that_took_too_long(path: Path) -> str:
    """What onnxruntime writes to stderr. Waiting for the model would exceed PATIENCE."""
    done = subprocess.run([sys.executable, "-c", TRIAL, path], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == f"{path}: took more than 0.5 s for 64x64 pixels; not a denoising model?\n"
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_an_endless_operator_is_not_waited_for(tmp_path: Path) -> None:
    assert stderr_of_a_trial_that_took_too_long(one_long_operator(tmp_path / "x.onnx")) == ""


def test_an_endless_model_is_terminated(tmp_path: Path) -> None:
    body = onnx.helper.make_graph(
        [node("Identity", ["go"], "go_on"), node("Sin", ["state"], "next")],
        "body",
        [
            onnx.helper.make_tensor_value_info("step", onnx.TensorProto.INT64, []),
            onnx.helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("state", FLOAT, list(FREE)),
        ],
        [
            onnx.helper.make_tensor_value_info("go_on", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("next", FLOAT, list(FREE)),
        ],
    )
    weights = [number(1 << 60, np.int64, "often"), number(True, np.bool_, "true")]
    path = saved(tmp_path / "x.onnx", node("Loop", ["often", "true", "noisy"], body=body), weights=weights)
    assert "terminate flag" in stderr_of_a_trial_that_took_too_long(path)


@pytest.mark.parametrize(
    "card",
    [{"multiple": 0}, {"multiple": "16"}, {"overlap": -1}, {"size": 0}, {"pixel_range": 3}, {"name": 5}, [], "text"],
)
def test_an_invalid_card_is_refused(tmp_path: Path, card: object) -> None:
    path = saved(tmp_path / "x.onnx", node("Identity", ["noisy"]))
    model = onnx.load(path)
    content = {"name": "x", "purpose": "", **card} if isinstance(card, dict) else card
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(content)})
    onnx.save(model, path)
    with pytest.raises(ModelError):
        load_model(path)


def test_a_complete_card_is_accepted(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.onnx", node("Identity", ["noisy"]))
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: ModelCard("mine", "a test", multiple=4).to_metadata()})
    onnx.save(model, path)
    assert load_model(path).card.name == "mine"


@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_fifos_folders_and_devices_are_refused_without_waiting(
    run: Run, tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    path = tmp_path / "x.onnx"
    plant(path)
    for read in (load_model, read_model, sha256):
        with pytest.raises((ModelError, ImageError)) as caught:
            read(path)
        # a folder given as a model must be one that cxr-export wrote
        no_file = r"^\S+x\.onnx(: is a \w+, not a file; move it elsewhere|/model\.onnx: no such model file; .*)$"
        assert re.match(no_file, str(caught.value))
    plant(tmp_path / "card.json")
    with pytest.raises(ModelError, match=r"card\.json: damaged model card"):
        read_card_file(tmp_path / "card.json")
    plant(tmp_path / MANIFEST)
    with pytest.raises(ModelError, match=r"manifest\.json: damaged manifest"):
        read_manifest(tmp_path)
    write_image(tmp_path / "in" / "a.png", np.zeros((9, 9), np.uint8))
    done = run("cxr-infer", "dir", "in", "--model", path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not (tmp_path / "in-denoised").exists()


@pytest.mark.parametrize("content", [b"", b"\x08", b"not a model", bytes(range(256)) * 8])
def test_files_other_than_onnx_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.onnx"):
        load_model(path)
