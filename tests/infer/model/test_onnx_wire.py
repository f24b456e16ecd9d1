"""Files with external values, encoded in ways that the wire format allows but no library uses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxr_infer import ModelError, load_model
from cxr_infer.formats.readers import write_image
from cxr_infer.model import onnx_wire
from cxr_infer.model.onnx_wire import WITHIN, MessageType, WireError, keeps_values_elsewhere
from cxr_infer.model.session import open_session, read_model
from tests.conftest import REPOSITORY, Run

onnx = pytest.importorskip("onnx")


def varint(value: int, length: int = 1) -> bytes:
    """At least `length` bytes; the last ones may carry no bits."""
    parts = [value & 0x7F]
    while (value := value >> 7) or len(parts) < length:
        parts.append(value & 0x7F)
    return bytes(part | 0x80 for part in parts[:-1]) + bytes([parts[-1]])


def field(number: int, content: bytes | int, length: int = 1) -> bytes:
    """length: least bytes of the number that holds the length of the field, or its value."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content, length)
    return varint(number << 3 | 2) + varint(len(content), length) + content


KEY, VALUE = field(1, b"location"), field(2, b"secret.bin")
ENTRY, REVERSED, LONG = field(13, KEY + VALUE), field(13, VALUE + KEY), field(13, KEY + VALUE, 5)
IN_OTHER_FILE = field(14, 1)
SHAPE = field(1, 1) + field(2, 1)  # dims [1], float
TENSORS = {
    "as libraries write it": SHAPE + field(8, b"weight") + ENTRY + IN_OTHER_FILE,
    "value before key": SHAPE + REVERSED + IN_OTHER_FILE,
    "location first": IN_OTHER_FILE + ENTRY + SHAPE,
    "longer lengths": SHAPE + LONG + field(14, 1, 10),
    "an entry alone": SHAPE + ENTRY,
    "an empty entry": SHAPE + field(13, b""),
    "a location alone": SHAPE + IN_OTHER_FILE,
    "the location said twice": SHAPE + IN_OTHER_FILE + field(14, 0),
    "values as well": SHAPE + field(9, b"\0\0\0\0") + ENTRY + IN_OTHER_FILE,
    "a key in two parts": SHAPE + field(13, KEY) + field(13, VALUE) + IN_OTHER_FILE,
    "a long number of the field": SHAPE + varint(13 << 3 | 2, 5) + varint(len(KEY + VALUE)) + KEY + VALUE,
}
PLACES: dict[str, Callable[[bytes], bytes]] = {
    "initializer": lambda tensor: field(7, field(5, tensor)),
    "second graph, merged": lambda tensor: field(7, b"") + field(7, field(5, tensor)),
    "sparse values": lambda tensor: field(7, field(15, field(1, tensor))),
    "sparse indices": lambda tensor: field(7, field(15, field(2, tensor))),
    "attribute": lambda tensor: field(7, field(1, field(5, field(5, tensor)))),
    "attribute's tensors": lambda tensor: field(7, field(1, field(5, field(10, tensor)))),
    "attribute's sparse tensor": lambda tensor: field(7, field(1, field(5, field(22, field(1, tensor))))),
    "attribute's sparse tensors": lambda tensor: field(7, field(1, field(5, field(23, field(2, tensor))))),
    "subgraph": lambda tensor: field(7, field(1, field(5, field(6, field(5, tensor))))),
    "subgraph's node": lambda tensor: field(
        7, field(1, field(5, field(11, field(1, field(5, field(6, field(5, tensor)))))))
    ),
    "function": lambda tensor: field(25, field(7, field(5, field(5, tensor)))),
    "function's default": lambda tensor: field(25, field(11, field(5, tensor))),
    "training": lambda tensor: field(20, field(1, field(5, tensor))),
    "training's algorithm": lambda tensor: field(20, field(2, field(1, field(5, field(5, tensor))))),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_external_values_are_found_in_every_encoding(place: Callable[[bytes], bytes], tensor: bytes) -> None:
    assert keeps_values_elsewhere(field(1, 8) + place(tensor))
    assert not keeps_values_elsewhere(field(1, 8) + place(SHAPE + field(14, 0) + field(9, b"\0\0\0\0")))


def test_every_onnx_message_that_may_contain_a_tensor_is_searched() -> None:
    """According to the schema in the package `onnx`, so that additions to it are noticed."""
    names = {
        MessageType.MODEL: "ModelProto",
        MessageType.GRAPH: "GraphProto",
        MessageType.NODE: "NodeProto",
        MessageType.ATTRIBUTE: "AttributeProto",
        MessageType.TENSOR: "TensorProto",
        MessageType.SPARSE: "SparseTensorProto",
        MessageType.TRAINING: "TrainingInfoProto",
        MessageType.FUNCTION: "FunctionProto",
    }
    kinds = {name: kind for kind, name in names.items()}

    def leads_to_a_tensor(message: object, above: tuple[str, ...] = ()) -> bool:
        if message.name == "TensorProto":
            return True
        inner = [f.message_type for f in message.fields if f.message_type and f.message_type.name not in above]
        return any(leads_to_a_tensor(one, (*above, message.name)) for one in inner)

    for kind, name in names.items():
        descriptor = getattr(onnx, name).DESCRIPTOR
        found = {
            f.number: kinds[f.message_type.name]
            for f in descriptor.fields
            if f.message_type is not None and leads_to_a_tensor(f.message_type)
        }
        assert WITHIN[kind] == found, name
    tensor = {f.name: f.number for f in onnx.TensorProto.DESCRIPTOR.fields}
    assert (tensor["external_data"], tensor["data_location"]) == (onnx_wire.EXTERNAL_DATA, onnx_wire.DATA_LOCATION)


def test_files_that_a_model_names_are_not_shown_as_pixels(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry has its value before its key, so a search for the usual bytes would miss it."""
    secret = np.linspace(0, 1, 64 * 64, dtype=np.float32)
    (tmp_path / "secret.bin").write_bytes(secret.tobytes())
    dims = b"".join(field(1, side) for side in (1, 1, 64, 64))
    tensor = dims + field(2, 1) + REVERSED + IN_OTHER_FILE + field(8, b"weight")
    nodes = [
        onnx.helper.make_node("Mul", ["noisy", "zero"], ["black"]),
        onnx.helper.make_node("Add", ["black", "weight"], ["denoised"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 64, 64])
        for name in ("noisy", "denoised")
    ]
    zero = onnx.numpy_helper.from_array(np.array(0, np.float32), "zero")
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], [zero])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString() + field(7, field(5, tensor)))
    assert b"\x0a\x08location\x12" not in path.read_bytes()
    with pytest.raises(ModelError, match=r"x\.onnx: keeps its weights in another file; save it as a single file"):
        load_model(path)
    monkeypatch.chdir(tmp_path)  # where onnxruntime looks for the external files of a model given as bytes
    with pytest.raises(ModelError, match="cannot load it"):
        open_session(path.read_bytes(), path, 1)
    write_image(tmp_path / "in" / "a.png", np.zeros((64, 64), np.uint8))
    done = run("cxr-infer", "dir", "in", "--model", "x.onnx")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def nested(levels: int) -> bytes:
    graph = b""
    for _ in range(levels):
        graph = field(1, field(5, field(6, graph)))
    return field(7, graph)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (nested(5000), "has messages nested more than 64 levels"),
        pytest.param(
            field(7, b"\x0a\x00" * (onnx_wire.MOST_FIELDS + 1)),
            "has more than 1,000,000 fields",
            marks=pytest.mark.slow,
        ),
        (field(7, b"")[:-1] + b"\x05", "is cut short"),
        (field(7, field(5, SHAPE))[:-1], "is cut short"),
        (b"\x3a", "is cut short"),
        (b"\x3a" + b"\xff" * 4 + b"\x7f", "is cut short"),
        (b"\x3a" + b"\x80" * 5 + b"\x00", "has an unterminated number"),
        (b"\xff" * 11, "has an unterminated number"),
        (b"\x00\x00", "has a field without a number"),
        (b"\x3b\x3c", "has a field of an unknown kind"),
        (field(7, 1), "has a field of the wrong kind"),
        (b"ORTM" * 8, "has a|is cut short"),
    ],
)
def test_hostile_files_are_refused_in_one_line_in_bounded_time(tmp_path: Path, content: bytes, problem: str) -> None:
    started = time.process_time()
    with pytest.raises(WireError, match=problem):
        keeps_values_elsewhere(content)
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"^\S+x\.onnx: cannot be loaded: the file ({problem}).*; is it") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 60


def test_random_bytes_raise_only_wire_errors() -> None:
    model = onnx.load(REPOSITORY / "weights" / "window" / "model.int8.onnx")
    del model.graph.initializer[:]
    del model.metadata_props[:]
    shipped = model.SerializeToString()
    rng = np.random.default_rng(0)
    problems = set()
    for _ in range(300):
        content = bytearray(shipped)
        for place in rng.integers(0, len(content), 20):
            content[place] = rng.integers(256)
        try:
            keeps_values_elsewhere(bytes(content))
        except WireError as error:
            problems.add(str(error))
    assert len(problems) > 3
    assert all(re.fullmatch(r"(is|has) [a-z0-9, ]+", problem) for problem in problems)


def test_the_shipped_models_are_searched_within_a_second() -> None:
    for path in (REPOSITORY / "weights").glob("*/*.onnx"):
        started = time.process_time()
        read_model(path)
        assert time.process_time() - started < 1


def test_a_file_larger_than_any_model_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 1)  # a hole, which takes no space
    with pytest.raises(ModelError, match="is over 2 GB"):
        load_model(path)
