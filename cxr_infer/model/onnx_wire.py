"""Walk the wire format of an ONNX file without a protobuf library: does it store values in other files?

onnxruntime reads any file that a model names as the place of its weights, and the model can output the content as
pixels. No model that names one may therefore be loaded. Encoding: https://protobuf.dev/programming-guides/encoding/,
fields: onnx.proto.
"""

from __future__ import annotations

from enum import Enum, auto

MOST_DEPTH = 64  # nested messages; a subgraph in a node takes three
MOST_FIELDS = 1_000_000  # per file, walked in some seconds; the shipped ones have up to 5,000
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types; ONNX does not use groups, 3 and 4
MOST_TAG_BYTES, MOST_VARINT_BYTES = 5, 10


class MessageType(Enum):
    """Messages that can contain a tensor."""

    MODEL = auto()
    GRAPH = auto()
    NODE = auto()
    ATTRIBUTE = auto()
    TENSOR = auto()
    SPARSE = auto()
    TRAINING = auto()
    FUNCTION = auto()


# for each message, its fields (by number) that are such messages
WITHIN: dict[MessageType, dict[int, MessageType]] = {
    MessageType.MODEL: {7: MessageType.GRAPH, 20: MessageType.TRAINING, 25: MessageType.FUNCTION},
    MessageType.GRAPH: {1: MessageType.NODE, 5: MessageType.TENSOR, 15: MessageType.SPARSE},
    MessageType.NODE: {5: MessageType.ATTRIBUTE},
    MessageType.ATTRIBUTE: {
        5: MessageType.TENSOR,
        10: MessageType.TENSOR,
        6: MessageType.GRAPH,
        11: MessageType.GRAPH,
        22: MessageType.SPARSE,
        23: MessageType.SPARSE,
    },
    MessageType.TENSOR: {},
    MessageType.SPARSE: {1: MessageType.TENSOR, 2: MessageType.TENSOR},
    MessageType.TRAINING: {1: MessageType.GRAPH, 2: MessageType.GRAPH},
    MessageType.FUNCTION: {7: MessageType.NODE, 11: MessageType.ATTRIBUTE},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor: where its values are, and 1 if they are elsewhere


class WireError(ValueError):
    """The file is not ONNX, or exceeds a limit. The message is a clause: `is cut short`."""


def keeps_values_elsewhere(content: bytes) -> bool:
    """Whether any tensor of an ONNX file, at any depth, stores its values outside the file.

    Stricter than protobuf: raises WireError for anything that protobuf would ignore or repair, for more than
    MOST_FIELDS fields, and for messages nested deeper than MOST_DEPTH.
    """
    view = memoryview(content)
    waiting = [(0, len(view), MessageType.MODEL, 1)]
    fields = 0
    while waiting:
        at, end, kind, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise WireError(f"has messages nested more than {MOST_DEPTH} levels deep")
        inner = WITHIN[kind]
        while at < end:
            fields += 1
            if fields > MOST_FIELDS:
                raise WireError(f"has more than {MOST_FIELDS:,} fields")
            number, wire_type, at = _tag(view, at, end)
            if kind is MessageType.TENSOR and number == EXTERNAL_DATA:
                return True
            value, start, at = _value(view, at, end, wire_type)
            if kind is MessageType.TENSOR and number == DATA_LOCATION and (wire_type != VARINT or value):
                return True
            if number in inner:
                if wire_type != LENGTH:
                    raise WireError("has a field of the wrong kind")
                waiting.append((start, at, inner[number], depth + 1))
    return False


def _tag(view: memoryview, at: int, end: int) -> tuple[int, int, int]:
    """Read the number and wire type of the field at a position; return them and where its value begins."""
    tag, at = _varint(view, at, end, MOST_TAG_BYTES)
    if tag >> 3 == 0:
        raise WireError("has a field without a number")
    return tag >> 3, tag & 7, at


def _value(view: memoryview, at: int, end: int, wire_type: int) -> tuple[int, int, int]:
    """Return the value if it is an integer, else 0, and where its content begins and ends."""
    if wire_type == VARINT:
        value, after = _varint(view, at, end, MOST_VARINT_BYTES)
        return value, at, after
    if wire_type == LENGTH:
        length, at = _varint(view, at, end, MOST_TAG_BYTES)
    elif wire_type in (FIXED32, FIXED64):
        length = 4 if wire_type == FIXED32 else 8
    else:
        raise WireError("has a field of an unknown kind")
    if length > end - at:
        raise WireError("is cut short")
    return 0, at, at + length


def _varint(view: memoryview, at: int, end: int, most_bytes: int) -> tuple[int, int]:
    """Read a variable-length integer, seven bits per byte, lowest first; return it and where the next value begins."""
    value = 0
    for index in range(most_bytes):
        if at >= end:
            raise WireError("is cut short")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at
    raise WireError("has an unterminated number")
