"""Two X-rays in a directory, and a hand-built ONNX file that returns its input, to check files bit-exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.formats.readers import write_image


@pytest.fixture(scope="session")
def identity_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`noisy` -> `denoised`, unchanged, with free batch, height and width."""
    onnx = pytest.importorskip("onnx")
    shape = ["batch", 1, "height", "width"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["noisy"], ["denoised"])],
        "identity",
        [onnx.helper.make_tensor_value_info("noisy", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("denoised", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    path = tmp_path_factory.mktemp("identity") / "identity.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def xrays(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> Path:
    for name in ("a.png", "sub/b.png"):
        write_image(tmp_path / "x" / name, noisy_bytes[100:132, 100:132])
    return tmp_path / "x"
