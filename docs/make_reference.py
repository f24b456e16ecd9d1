"""Generate the pages of docs/reference and two JSON Schemas: `python docs/make_reference.py`.

cli.md is built from the commands, json.md and weights/report.schema.json from the schema of reports, lab.md and
weights/lab.schema.json from the schema of lab results, manifest.md from weights/manifest.schema.json. A test checks
that all are up to date.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from benchmarks.tables import table
from cxr_export.cli import app as export_app
from cxr_infer.cli.commands import app as infer_app
from cxr_infer.lab.schema import lab_schema
from cxr_infer.report.schema import report_schema
from cxr_train.cli import app as train_app

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
SCHEMA = ROOT / "weights" / "manifest.schema.json"
REPORT_SCHEMA, LAB_SCHEMA = SCHEMA.with_name("report.schema.json"), SCHEMA.with_name("lab.schema.json")
PROGRAMS = {"cxr-infer": infer_app, "cxr-train": train_app, "cxr-export": export_app}

VALUES = {"str": "text", "int": "number", "float": "number", "path": "path"}  # of options
GENERATED = "<!-- written by python docs/make_reference.py -->"
TYPES = {"string": "text", "integer": "number", "boolean": "true or false"}  # of a JSON Schema


def cli_page() -> str:
    parts = [
        GENERATED,
        "# Command line",
        "The help of every command, as `--help` shows it. [Denoise](../guide/denoise.md) and "
        "[Training](../training.md) explain the choices.",
    ]
    for program, app in PROGRAMS.items():
        command = typer.main.get_command(app)
        parts += [f"## {program}", *_command(program, command)]
        for name, each in getattr(command, "commands", {}).items():
            if not each.hidden:
                parts += [f"### {program} {name}", *_command(f"{program} {name}", each)]
    return _page(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    """Yield purpose, usage, arguments and options of a command of typer, whose classes have no public types."""
    if command.help:
        yield inspect.cleandoc(command.help)
    context = typer.Context(command, info_name=name)
    shown = [each for each in command.params if not each.hidden]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    words = [each.metavar or each.name.upper() for each in arguments]
    more = "COMMAND" if getattr(command, "commands", None) else ""
    yield f"```text\n{' '.join(filter(None, [name, *words, '[OPTIONS]', more]))}\n```"
    if arguments:
        rows = [[f"`{word}`", _cell(help_of(each))] for word, each in zip(words, arguments, strict=True)]
        yield table(["argument", "meaning"], rows)
    options = [each for each in shown if each.param_type_name == "option"]
    if options:
        rows = [[names_of(each), _value(each, context), _default(each), _cell(help_of(each))] for each in options]
        yield table(["option", "value", "default", "meaning"], rows)


def help_of(parameter: Any) -> str:
    """Return the help text of an argument or option, on one line."""
    return " ".join(str(parameter.help or "").split())


def names_of(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _value(option: Any, context: typer.Context) -> str:
    if option.is_flag:
        return ""
    if option.metavar:
        return f"`{option.metavar}`"
    word = option.display_type(context).strip("<>[]")
    listed = re.fullmatch(r"list\[(.*)\]?", word)
    if listed:
        return f"{VALUES.get(listed[1], listed[1])}, may be repeated"
    return VALUES.get(word) or _either(f"`{each}`" for each in word.split("|"))


def _default(option: Any) -> str:
    variable = f"or `{option.envvar}`" if option.envvar else ""
    if option.required:
        return "required"
    shown = option.default is not None and not isinstance(option.default, bool)
    return " ".join(filter(None, [f"`{option.default}`" if shown else "", variable]))


def json_page() -> str:
    """Return the page about the records of `--json`, from their schema."""
    schema = report_schema()
    parts: list[str] = [
        GENERATED,
        "# JSON records",
        "`cxr-infer dir --json FILE` writes every figure of a run. A `.json` file holds one object, written at the "
        "end. A `.jsonl` file is written during the run: one [record](#record) per line as each file finishes, then "
        "one last line with the rest of the object. Numbers are not rounded; figures that do not apply are null. "
        "`weights/report.schema.json` (JSON Schema 2020-12) describes both; this page is generated from the same "
        f"source. {schema['description']}",
        *_sections("Report", schema),
    ]
    return _page(parts)


def lab_page() -> str:
    """Return the page about lab.json, from its schema."""
    schema = lab_schema()
    parts = [
        GENERATED,
        "# Lab results",
        "`cxr-infer lab` writes `lab.json`: every figure of its page with its uncertainty, and everything needed to "
        "repeat the measurement. `weights/lab.schema.json` (JSON Schema 2020-12) describes it; this page is generated "
        f"from the same source. {schema['description']}",
        *_sections("Result", schema),
    ]
    return _page(parts)


def _sections(title: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield a section for the whole schema, then one for each definition."""
    for name, content in ((title, schema), *schema["$defs"].items()):
        yield f"## {name.capitalize()}"
        if content is not schema and "description" in content:
            yield content["description"]
        yield _properties(content)


def schema_file(schema: dict[str, Any]) -> str:
    """Return the content of a schema file in weights/."""
    return json.dumps(schema, indent=1) + "\n"


def manifest_page() -> str:
    """Return the page about weights/manifest.json, from its JSON Schema."""
    schema = json.loads(SCHEMA.read_text())
    parts = [
        GENERATED,
        "# Model manifest",
        "`weights/manifest.json` contains everything a program needs to run the models without cxr-infer. "
        "`weights/manifest.schema.json` (JSON Schema 2020-12) describes it; this page is generated from that schema. "
        f"Every key is required unless marked optional, and no other keys occur. {schema['description']}",
        "## Manifest",
        _properties(schema),
    ]
    for name, content in schema["$defs"].items():
        parts.append(f"## {name.capitalize()}")
        if "description" in content:
            parts.append(content["description"])
        if "properties" in content:
            parts.append(_properties(content))
            continue
        for choice in content["oneOf"]:
            if "step" in choice["properties"]:
                parts.append(f"### {choice['properties']['step']['const']}")
            if "description" in choice:
                parts.append(choice["description"])
            parts.append(_properties(choice))
    return _page(parts)


def _properties(content: dict[str, Any]) -> str:
    return table(["key", "value", "meaning"], list(_rows(content)))


def _rows(content: dict[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """Yield a row for each key, including the keys of nested objects."""
    for name, part in content["properties"].items():
        optional = "" if name in content["required"] else "; optional"
        yield [f"`{prefix}{name}`", _schema_type(part) + optional, _cell(part["description"])]
        if "properties" in part:
            yield from _rows(part, f"{prefix}{name}.")


def _schema_type(part: dict[str, Any]) -> str:
    """Describe the type of a part of a schema in words."""
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name})"
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return _either(f"`{value}`" for value in part["enum"])
    if "oneOf" in part:
        return _either(map(_schema_type, part["oneOf"]))
    if part.get("type") == "array":
        items = part.get("items") or part["prefixItems"][0]
        return f"array of {_schema_type(items)}"
    if isinstance(part.get("additionalProperties"), dict):
        keys = part.get("propertyNames", {}).get("enum")
        named = f" by {_either(f'`{key}`' for key in keys)}" if keys else " by name"
        return f"{_schema_type(part['additionalProperties'])}{named}"
    kinds = part.get("type", "")
    return _either(TYPES.get(str(kind), str(kind)) for kind in (kinds if isinstance(kinds, list) else [kinds]))


def _either(words: Iterable[str]) -> str:
    return " or ".join(words)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts) + "\n"


PAGES = {"cli.md": cli_page, "json.md": json_page, "lab.md": lab_page, "manifest.md": manifest_page}
SCHEMAS = {REPORT_SCHEMA: report_schema, LAB_SCHEMA: lab_schema}


def main() -> None:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
    for file, schema in SCHEMAS.items():
        file.write_text(schema_file(schema()))


if __name__ == "__main__":
    main()
