"""The content of lab.json as a JSON Schema (2020-12).

`python docs/make_reference.py` writes it to weights/lab.schema.json and generates the reference page from it.
"""

from __future__ import annotations

from typing import Any

from cxr_infer.lab.protocol import SIGNAL_KINDS
from cxr_infer.lab.result import RESULT_FORMAT, STATED_PACKAGES
from cxr_infer.report.schema import DRAFT, format_schema, versions_schema

Schema = dict[str, Any]


def lab_schema() -> Schema:
    """Return the schema of a whole result."""
    parts = {
        "lab": format_schema(RESULT_FORMAT),
        "date": _of("string", "when the run ended, ISO 8601 with the offset from UTC"),
        "command": _texts("words of the command line"),
        "cpu": _of("string", "name of the processor"),
        "versions": versions_schema(STATED_PACKAGES, ", and packages needed by methods"),
        "protocol": _object(_protocol_facts(), "what was requested"),
        "seed": _of("integer", "source of every draw of noise and every place"),
        "methods": _list("method", "what was measured"),
        "images": _list("image", "clean images that signals and noise were added to"),
        "frames": _list("image", "repeated exposures, if given"),
        "findings": _list("finding", "one per figure of the page"),
    }
    return {
        "$schema": DRAFT,
        "title": "Result of cxr-infer lab",
        **_object(parts, "Keys may be added within a format. A number that is not finite is null."),
        "$defs": {
            "protocol": _object(_content(), "The protocol, including changes by the command line."),
            "signal": _object(_signal(), "A signal to detect."),
            "method": _object(_method(), "A denoiser under test."),
            "image": _object(_image(), "An image that was used."),
            "finding": _object(_finding(), "One figure with its explanation."),
            "axis": _object(_axis(), "A quantity."),
            "series": _object(_series(), "One curve; x and y have equal lengths."),
            "estimate": _object(_estimate(), "A measured value with its 95% interval; exact if both ends equal it."),
            "map": _object(_map(), "A map over an image, in numbers; the page shows it."),
        },
    }


def _protocol_facts() -> Schema:
    return {
        "name": _of("string", "`quick`, `full`, or the name in a protocol file"),
        "version": _of("integer", "of the protocol"),
        "sha256": _of("string", "of the protocol, apart from its methods; results with equal hashes are comparable"),
        "changed": _texts("changes of the file by the command line"),
        "content": {"$ref": "#/$defs/protocol", "description": "the complete protocol"},
    }


def _content() -> Schema:
    return {
        "name": _of("string", "of the protocol"),
        "version": _of("integer", "of the protocol"),
        "seed": _of("integer", "of all draws"),
        "phantoms": _of("integer", "number of phantoms, if no images are given"),
        "side": _of("integer", "px of each image"),
        "spacing": _of(["number", "null"], "mm per pixel; null if unknown, and sizes are in px"),
        "doses": _numbers("photons at white; a detector's noise is made equally strong"),
        "noises": _texts("`white`, or names of measured detectors"),
        "methods": _texts("names of methods, paths of .onnx files, commands"),
        "signals": _list("signal", "signals to detect"),
        "contrasts": _numbers("gray levels of 255 at which contrast is measured"),
        "draws": _of("integer", "independent draws of noise per point"),
        "studies": _texts("names of the studies"),
        "blur": _of("number", "px, standard deviation of the Gaussian by which the detector blurs signals"),
        "if_installed": _texts("further methods, left out if their packages are missing"),
        "fewer_draws": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "number of draws of slow methods; the first ones are used",
        },
    }


def _signal() -> Schema:
    return {
        "kind": {"type": "string", "enum": list(SIGNAL_KINDS), "description": "its shape"},
        "size": _of("number", "mm, or px if the spacing is unknown: diameter, width of lines, period of lattices"),
        "contrast": _of("number", "gray levels of 255, signed"),
    }


def _method() -> Schema:
    return {
        "name": _of("string", "as displayed"),
        "sha256": _of(["string", "null"], "hash of its model, hexadecimal; null if it has none"),
    }


def _image() -> Schema:
    return {
        "name": _of("string", "of the file, or of the phantom"),
        "width": _of("integer", "px"),
        "height": _of("integer", "px"),
        "sha256": _of("string", "hash of its pixels, hexadecimal"),
    }


def _finding() -> Schema:
    return {
        "key": _of("string", "unique within a result"),
        "study": _of("string", "its study"),
        "title": _of("string", "of the figure"),
        "measured": _of("string", "what was measured"),
        "on": _of("string", "images and draws used"),
        "caution": _of("string", "what it does not mean"),
        "source": _of("string", "source of the formula"),
        "draws": _of("integer", "independent draws, images or frames per point, unless a series has fewer"),
        "seed": _of("integer", "of those draws"),
        "higher_is_better": _of(["boolean", "null"], "null if neither is"),
        "x": {"$ref": "#/$defs/axis", "description": "of the figure"},
        "y": {"$ref": "#/$defs/axis", "description": "of the figure"},
        "series": _list("series", "its curves"),
        "maps": _list("map", "its maps"),
    }


def _axis() -> Schema:
    return {
        "name": _of("string", "what it is"),
        "unit": _of("string", "empty for a pure number"),
        "logarithmic": _of("boolean", "whether to draw it logarithmically"),
    }


def _series() -> Schema:
    return {
        "method": _of("string", "what was measured"),
        "condition": _of("string", "such as a noise and a dose"),
        "draws": _of("integer", "independent draws, images or frames per point"),
        "x": {"type": "array", "items": {"type": ["number", "null"]}, "description": "positions on the x axis"},
        "y": _list("estimate", "values there"),
    }


def _estimate() -> Schema:
    ends = {"value": "the value", "low": "lower end of its interval", "high": "upper end of its interval"}
    return {name: _of(["number", "null"], meaning) for name, meaning in ends.items()}


def _map() -> Schema:
    return {
        "method": _of("string", "what was measured"),
        "condition": _of("string", "such as a noise and a dose"),
        "width": _of("integer", "px"),
        "height": _of("integer", "px"),
        "mean": _of(["number", "null"], "gray levels of 255"),
        "rms": _of(["number", "null"], "root mean square, gray levels of 255"),
        "largest": _of(["number", "null"], "largest absolute value, gray levels of 255"),
    }


def _of(kind: str | list[str], meaning: str) -> Schema:
    return {"type": kind, "description": meaning}


def _texts(meaning: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": meaning}


def _numbers(meaning: str) -> Schema:
    return {"type": "array", "items": {"type": "number"}, "description": meaning}


def _list(name: str, meaning: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}, "description": meaning}


def _object(properties: Schema, meaning: str) -> Schema:
    return {"description": meaning, "type": "object", "properties": properties, "required": list(properties)}
