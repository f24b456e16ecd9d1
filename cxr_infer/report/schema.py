"""The JSON Schema (2020-12) of `--json`, derived from the classes whose fields it contains.

`python docs/make_reference.py` writes it to weights/report.schema.json and generates the reference page from it.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from cxr_infer.report.columns import AVERAGED, COLUMNS
from cxr_infer.report.json_file import REPORT_FORMAT, STATED_PACKAGES
from cxr_infer.report.results import DONE, FAILED, IGNORED, PENDING, SKIPPED, FileResult, Summary
from cxr_infer.settings import ReadOptions, Settings
from cxr_infer.untrusted_json import JsonObject

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
STATUSES = (DONE, FAILED, SKIPPED, IGNORED, PENDING)


def format_schema(number: int) -> JsonObject:
    """Describe the key that tells which version of its format a document has."""
    return {
        "const": number,
        "description": "version of this format; increased when a key changes its meaning or is removed",
    }


def versions_schema(packages: Sequence[str], more: str = "") -> JsonObject:
    """Describe the versions of what made a document, by the names of packages. more: the end of the description."""
    return {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "required": ["cxr-infer", "python", *packages],
        "description": f"versions of cxr-infer, Python, {', '.join(packages[:-1])} and {packages[-1]}{more}",
    }


def report_schema() -> JsonObject:
    """Return the schema of a report. In a .jsonl, the last line is a report without `files`, others are records."""
    parts = {
        "model": _object(
            {
                "name": _text("`window`, `original`, `new`, or the name in the card of another file"),
                "precision": _text("`fp32` or `int8`"),
                "file": _text("path of the .onnx file"),
                "sha256": _text("SHA-256 of that file, hexadecimal"),
            },
            "the model used",
        ),
        "format": format_schema(REPORT_FORMAT),
        "date": _text("start of the run, ISO 8601 with UTC offset"),
        "command": {"type": "array", "items": {"type": "string"}, "description": "words of the command line"},
        "cpu": _text("CPU of the machine that started the run"),
        "threads": {"type": "integer", "description": "number of threads of the model on that machine"},
        "settings": {"$ref": "#/$defs/settings", "description": "how images were read and denoised"},
        "versions": versions_schema(STATED_PACKAGES),
        "input": _text("IN as given"),
        "output": _text("OUT"),
        "files": {"type": "array", "items": {"$ref": "#/$defs/record"}, "description": "one record per file under IN"},
        "interrupted": {"type": "boolean", "description": "whether the run was stopped early"},
        "summary": {"$ref": "#/$defs/summary", "description": "counts, totals and means"},
    }
    return {
        "$schema": DRAFT,
        "title": "Report of cxr-infer dir --json",
        **_object(parts, "Keys may be added without a new format version.", optional=("files",)),
        "$defs": {"record": _record(), "summary": _summary(), "settings": _settings()},
    }


def _record() -> JsonObject:
    meanings = {**attributes(FileResult), **{column.key: column.meaning for column in COLUMNS if column.meaning}}
    record = _of_class(FileResult, meanings)
    record["properties"]["status"]["enum"] = list(STATUSES)
    return {**record, "description": "One for every file under IN, whatever its status."}


def _summary() -> JsonObject:
    meanings = attributes(Summary)
    summary = _of_class(Summary, meanings)
    keys = [column.key for column in AVERAGED if column.mean is not None and column.mean.in_json]
    number = {"type": ["number", "null"]}
    means = {"type": "object", "required": keys, "additionalProperties": number, "description": meanings["means"]}
    return {**summary, "properties": {**summary["properties"], "means": means}}


def _settings() -> JsonObject:
    both = [_of_class(one, attributes(one))["properties"] for one in (Settings, ReadOptions)]
    return _object(both[0] | both[1], "How images were read and denoised.")


def _of_class(documented: type, meanings: dict[str, str]) -> JsonObject:
    hints = dict(typing.get_type_hints(documented))
    for name, member in vars(documented).items():
        if isinstance(member, property) and member.fget is not None:
            hints[name] = typing.get_type_hints(member.fget).get("return", object)
    return _object({name: _type(hints.get(name)) | {"description": text} for name, text in meanings.items()})


def _type(hint: Any) -> JsonObject:
    if isinstance(hint, types.UnionType):
        return {"type": [TYPES[part] for part in hint.__args__]}
    return {"type": TYPES.get(hint, "object")}


def _text(meaning: str) -> JsonObject:
    return {"type": "string", "description": meaning}


def _object(properties: JsonObject, description: str = "", optional: tuple[str, ...] = ()) -> JsonObject:
    required = [name for name in properties if name not in optional]
    said = {"description": description} if description else {}
    return {**said, "type": "object", "properties": properties, "required": required}


def attributes(documented: type) -> dict[str, str]:
    """Parse the section `Attributes` of a Google-style docstring: name -> meaning, None as null."""
    section = re.search(r"^Attributes:\n((?:[ \n].*\n?)*)", inspect.cleandoc(documented.__doc__ or ""), re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: re.sub(r"\bNone\b", "null", " ".join(text.split())) for name, text in entries}
