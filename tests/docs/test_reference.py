"""The generated pages are those of the program, and leave nothing undocumented."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from cxr_infer.report.results import FileResult, Summary
from cxr_infer.settings import ReadOptions, Settings
from tests.conftest import REPOSITORY, Run

SCRIPT = REPOSITORY / "docs" / "make_reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/make_reference.py, which is no module of a package."""
    specification = importlib.util.spec_from_file_location("make_reference", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report(samples: Path) -> dict[str, Any]:
    """What `--json` writes of a run with a reference."""
    from typer.testing import CliRunner

    from cxr_infer.cli.commands import app

    file = samples / "run.json"
    arguments = ["dir", samples / "xrays", "--reference", samples / "xrays-clean", "--json", file, "--quiet"]
    assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
    return dict(json.loads(file.read_text()))


@pytest.mark.parametrize("name", ["cli.md", "json.md", "manifest.md"])
def test_a_generated_page_is_up_to_date(reference: ModuleType, name: str) -> None:
    written = (REPOSITORY / "docs" / "reference" / name).read_text()
    assert written == reference.PAGES[name](), "run python docs/make_reference.py"


def test_every_option_and_argument_is_explained(reference: ModuleType) -> None:
    for program, app in reference.PROGRAMS.items():
        command = typer.main.get_command(app)
        for each in (command, *getattr(command, "commands", {}).values()):
            assert all(reference.help_of(parameter) for parameter in each.params), (program, each.name)


def test_every_key_of_a_report_is_explained(reference: ModuleType, report: dict[str, Any]) -> None:
    assert set(keys_of(report)) == set(reference.HEAD)
    assert set(report["files"][0]) == set(reference.record_keys())
    assert set(report["summary"]) == set(reference.attributes(Summary))
    settings = reference.attributes(Settings) | reference.attributes(ReadOptions)
    assert set(report["settings"]) == set(settings)
    assert all(name.lower() in reference.HEAD["versions"][1].lower() for name in report["versions"])


def keys_of(report: dict[str, Any]) -> Iterator[str]:
    """The keys of a report, those of its model by a dot."""
    for key, value in report.items():
        yield from (f"model.{part}" for part in value) if key == "model" else (key,)


def test_a_stream_has_the_same_keys(run: Run, reference: ModuleType, samples: Path, tmp_path: Path) -> None:
    done = run("cxr-infer", "dir", samples / "xrays", "--out", "out", "--json", "run.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    *records, last = map(json.loads, (tmp_path / "run.jsonl").read_text().splitlines())
    assert all(set(record) == set(reference.record_keys()) for record in records)
    assert set(keys_of(last)) == set(reference.HEAD) - {"files"}


def test_types_are_said_in_words(reference: ModuleType) -> None:
    types = reference.field_types(FileResult)
    assert (types["name"], types["psnr"], types["inverted"]) == ("text", "number or null", "true or false or null")
    assert reference.field_types(Summary)["megapixels_per_second"] == "number or null"
