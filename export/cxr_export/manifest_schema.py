"""Build the JSON Schema (2020-12) of weights/manifest.json. Objects are closed: an unknown key is an error.

Every key has a description, from `manifest_words`.
"""

from __future__ import annotations

from cxr_export.manifest_words import MEANINGS
from cxr_infer.model.card import CARD_FORMAT, INT8, MODEL_NAMES, TOLERANCES
from cxr_infer.model.manifest import SCHEMA
from cxr_infer.untrusted_json import JsonObject

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TEXT: JsonObject = {"type": "string", "minLength": 1}
COUNT: JsonObject = {"type": "integer", "minimum": 1}
PX: JsonObject = COUNT  # pixels
NUMBER: JsonObject = {"type": "number"}
FREE: JsonObject = {"type": "object"}  # written by training; the keys may change
PRECISION: JsonObject = {"enum": list(TOLERANCES)}
RANGE: JsonObject = {"type": "array", "prefixItems": [NUMBER, NUMBER], "minItems": 2, "maxItems": 2}


def manifest_schema() -> JsonObject:
    """The schema as parsed JSON."""
    models = {"type": "object", "propertyNames": {"enum": list(MODEL_NAMES)}, "additionalProperties": _ref("model")}
    content = _closed(
        {"$schema": {"const": SCHEMA}, "format": {"const": CARD_FORMAT}, "limits": TEXT, "models": models},
        {"noise_estimate": _ref("noise_estimate")},
    )
    return {
        "$schema": DIALECT,
        "title": "cxr-infer models",
        "description": "Paths start at the folder of the manifest.",
        **_described("manifest", content),
        "$defs": {
            "noise_estimate": _described("noise_estimate", _noise_estimate()),
            "model": _described("model", _model()),
            "file": _described("file", _file()),
            "axis": {"oneOf": [_axis(*named) for named in _axes().items()]},
            "tensor": _described("tensor", _tensor()),
            "array": _described("array", _array()),
            "test": _described("test", _test()),
            "step": {"oneOf": [_step(name, parts) for name, parts in _steps()]},
        },
    }


def _described(name: str, content: JsonObject, prefix: str = "") -> JsonObject:
    """An object with the meaning of each of its keys, those of objects within it too."""
    properties = {}
    for key, part in content["properties"].items():
        inner = _described(name, part, f"{prefix}{key}.") if "properties" in part else part
        properties[key] = {**inner, "description": MEANINGS[name][f"{prefix}{key}"]}
    return {**content, "properties": properties}


def _step(name: str, parts: JsonObject) -> JsonObject:
    described = _described(name, _closed(parts))
    step = {"step": {"const": name, "description": "its name"}}
    return {
        "description": MEANINGS[name][""],
        **described,
        "properties": {**step, **described["properties"]},
        "required": ["step", *described["required"]],
    }


def _tensor() -> JsonObject:
    return _closed(
        {"name": TEXT, "meaning": TEXT, "dtype": {"const": "float32"}, "range": RANGE, "axes": _list("axis")}
    )


def _model() -> JsonObject:
    return _closed(
        {
            "purpose": TEXT,
            "parameters": {"type": "integer", "minimum": 0},
            "training": FREE,
            "data": FREE,
            "metrics": {"type": "object", "additionalProperties": NUMBER},
            "citation": TEXT,
            "licence": TEXT,
            "limits": TEXT,
            "code_version": TEXT,
            "files": _by_precision(_ref("file")),
            "inputs": _list("tensor"),
            "outputs": _list("tensor"),
            "before": _list("step"),
            "after": _list("step"),
            "test": _ref("test"),
        }
    )


def _file() -> JsonObject:
    return _closed({**_onnx(), "card": TEXT, "precision": PRECISION})


def _noise_estimate() -> JsonObject:
    return _closed({**_onnx(), "inputs": _list("tensor"), "outputs": _list("tensor")})


def _onnx() -> JsonObject:
    """What is said of every ONNX file."""
    return {
        "file": TEXT,
        "bytes": COUNT,
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "opset": COUNT,
        "tolerance": {"type": "number", "exclusiveMinimum": 0},
    }


def _axis(name: str, content: JsonObject) -> JsonObject:
    return {"description": f"An {name}.", **_described(name, content)}


def _axes() -> dict[str, JsonObject]:
    fixed = _closed({"name": TEXT, "size": COUNT})
    free = _closed({"name": TEXT, "size": {"type": "null"}, "multiple_of": COUNT, "minimum": COUNT})
    return {"axis of a fixed size": fixed, "axis of any size": free}


def _array() -> JsonObject:
    return _closed(
        {
            "npy": {**TEXT, "pattern": r"\.npy$"},
            "raw": TEXT,
            "raw_offset": {"type": "integer", "minimum": 0},
            "shape": {"type": "array", "items": COUNT, "minItems": 1},
        }
    )


def _test() -> JsonObject:
    arrays = {"type": "object", "minProperties": 1, "additionalProperties": _ref("array")}
    image = {
        "noisy": _ref("array"),
        "window": _or_null(PX),
        "overlap": _or_null(PX),
        "noise_level": _or_null(NUMBER),
        "expected": _by_precision(_ref("array")),
    }
    return _closed({"inputs": arrays, "expected": _by_precision(arrays), "image": _closed(image)})


def _steps() -> list[tuple[str, JsonObject]]:
    """The steps before and after the network, and what each consists of."""
    interpolation = _closed({"interpolation": TEXT, "opencv": TEXT}, {"coefficient": NUMBER})
    resize = {"fewer_pixels": interpolation, "more_pixels": interpolation, "pixel_centres": TEXT, "border": TEXT}
    side = {"oneOf": [PX, {"const": "the image's"}]}
    taps = {"type": "array", "items": {"type": "array", "items": NUMBER}}
    high_pass = _closed({"taps": taps, "divisor": NUMBER, "spacing": PX, "border": TEXT})
    white = {"type": "object", "additionalProperties": COUNT, "minProperties": 1}
    along = _closed(dict.fromkeys(("cells", "shared", "count", "length", "start"), TEXT))
    edges = {"type": "array", "items": {"enum": ["bottom", "right"]}}
    return [
        ("gray", {"colour": TEXT, "alpha": TEXT, "orientation": TEXT}),
        ("scale", {"formula": TEXT, "white": white, "white_of_file": TEXT, "never": TEXT}),
        ("invert", {"where": {"type": "object", "additionalProperties": TEXT}, "formula": TEXT, "order": TEXT}),
        ("resize", {"height": side, "width": side, **resize, "equal_size": TEXT}),
        (
            "noise_level",
            {
                **dict.fromkeys(("input", "of", "recipe", "onnx"), TEXT),
                **dict.fromkeys(("bins", "least_blocks"), COUNT),
                **dict.fromkeys(("most_saturated", "most"), NUMBER),
                "block": PX,
                "high_pass": high_pass,
                "bin_range": RANGE,
            },
        ),
        ("pad", {"mode": {"const": "symmetric"}, "edges": edges, "multiple": PX}),
        (
            "window",
            {
                **dict.fromkeys(("side", "overlap", "multiple"), PX),
                **dict.fromkeys(("most_pixels", "memory_per_pixel"), COUNT),
                "along_each_axis": along,
                "default": TEXT,
            },
        ),
        ("blend", {**dict.fromkeys(("order", "formula", "position", "rise", "weight"), TEXT), "blind_share": NUMBER}),
        ("crop", {"from": TEXT, "to": TEXT}),
        ("clip", {"range": RANGE, "in_graph": {"type": "boolean"}}),
        ("strength", {"formula": TEXT, "default": NUMBER}),
        ("store", {"formula": TEXT, "ties": TEXT}),
    ]


def _closed(required: JsonObject, optional: JsonObject | None = None) -> JsonObject:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _by_precision(content: JsonObject) -> JsonObject:
    optional = {"required": [key for key in TOLERANCES if key != INT8]}
    return {"type": "object", "propertyNames": PRECISION, "additionalProperties": content, **optional}


def _list(name: str) -> JsonObject:
    return {"type": "array", "items": _ref(name), "minItems": 1}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/$defs/{name}"}


def _or_null(content: JsonObject) -> JsonObject:
    return {"oneOf": [content, {"type": "null"}]}
