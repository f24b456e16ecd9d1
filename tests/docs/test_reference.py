"""The generated pages match the program and document everything."""

from __future__ import annotations

import importlib.util
import json
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import typer

from cxr_infer.report.schema import report_schema
from tests.conftest import REPOSITORY, Run
from tests.schemas import refuses

SCRIPT = REPOSITORY / "docs" / "make_reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/make_reference.py, which is not part of a package."""
    specification = importlib.util.spec_from_file_location("make_reference", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report(samples: Path) -> dict[str, Any]:
    """The `--json` report of a run with a reference."""
    from typer.testing import CliRunner

    from cxr_infer.cli.commands import app

    file = samples / "run.json"
    arguments = ["dir", samples / "xrays", "--reference", samples / "xrays-clean", "--json", file, "--quiet"]
    assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
    return dict(json.loads(file.read_text()))


@pytest.mark.parametrize("name", ["cli.md", "json.md", "lab.md", "manifest.md"])
def test_a_generated_page_is_up_to_date(reference: ModuleType, name: str) -> None:
    written = (REPOSITORY / "docs" / "reference" / name).read_text()
    assert written == reference.PAGES[name](), "run python docs/make_reference.py"


def test_every_option_and_argument_is_explained(reference: ModuleType) -> None:
    for program, app in reference.PROGRAMS.items():
        command = typer.main.get_command(app)
        for each in (command, *getattr(command, "commands", {}).values()):
            assert all(reference.help_of(parameter) for parameter in each.params), (program, each.name)


def test_the_schema_files_are_valid_and_up_to_date(reference: ModuleType) -> None:
    assert len(reference.SCHEMAS) == 2
    for file, schema in reference.SCHEMAS.items():
        assert file.read_text() == reference.schema_file(schema()), "run python docs/make_reference.py"
        jsonschema.Draft202012Validator.check_schema(schema())


def test_a_report_matches_its_schema_which_explains_every_key(report: dict[str, Any]) -> None:
    schema = report_schema()
    jsonschema.validate(report, schema)
    assert set(report) == set(schema["properties"])
    assert set(report["model"]) == set(schema["properties"]["model"]["properties"])
    parts = {"record": report["files"][0], "summary": report["summary"], "settings": report["settings"]}
    for name, part in parts.items():
        assert set(part) == set(schema["$defs"][name]["properties"])
    assert set(report["summary"]["means"]) == set(schema["$defs"]["summary"]["properties"]["means"]["required"])
    assert set(report["versions"]) == set(schema["properties"]["versions"]["required"])
    for part in (schema, *schema["$defs"].values()):
        assert all(each["description"] for each in part["properties"].values())


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("format",), 2),
        (("files", 0, "status"), "finished"),
        (("files", 0, "psnr"), "34"),
        (("summary", "done"), None),
        (("settings", "strength"), "1"),
        (("model", "sha256"), None),
    ],
)
def test_the_schema_rejects_wrong_and_missing_values(
    report: dict[str, Any], place: tuple[Any, ...], wrong: object
) -> None:
    refuses(report_schema(), report, place, wrong)


def test_a_stream_matches_the_same_schema(run: Run, samples: Path, tmp_path: Path) -> None:
    done = run("cxr-infer", "dir", samples / "xrays", "--out", "out", "--json", "run.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    *records, last = map(json.loads, (tmp_path / "run.jsonl").read_text().splitlines())
    schema = report_schema()
    for record in records:
        jsonschema.validate(record, {**schema["$defs"]["record"], "$defs": schema["$defs"]})
        assert set(record) == set(schema["$defs"]["record"]["properties"])
    jsonschema.validate(last, schema)
    assert set(last) == set(schema["properties"]) - {"files"}
    assert last["command"][-3:] == ["--json", "run.jsonl", "--quiet"]
    assert datetime.fromisoformat(last["date"]).tzinfo is not None
    assert last["cpu"]
