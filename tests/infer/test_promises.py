"""README.md, SECURITY.md and the site, checked against the program and the tests that prove their promises."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cxr_infer.cli.commands import app as infer_app
from cxr_infer.model.card import MODEL_NAMES
from cxr_infer.settings import DEFAULT_MEMORY, MAX_PIXELS, REPORT_LIMIT, WEB_PORT, Settings
from tests.conftest import REPOSITORY
from tests.infer.promises import PROMISES

DOCUMENTS = (
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    *sorted(page.relative_to(REPOSITORY).as_posix() for page in (REPOSITORY / "docs").rglob("*.md")),
)
FOREIGN_OPTIONS = {"--index-url", "--untold"}  # pip's, and benchmarks.detectors'


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text()


def commands() -> dict[str, dict[str, Any]]:
    """Return every command by program and name; the classes of typer have no public types."""
    from cxr_export.cli import app as export_app
    from cxr_train.cli import app as train_app

    programs = {"cxr-infer": infer_app, "cxr-train": train_app, "cxr-export": export_app}
    return {name: _commands_of(typer.main.get_command(app)) for name, app in programs.items()}


def _commands_of(command: Any) -> dict[str, Any]:
    return {"": command, **getattr(command, "commands", {})}


def options_of(command: Any) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("--")} | {"--help"}


def shown_commands() -> Iterator[str]:
    """Yield the shell lines of the documents that begin with a program of this project."""
    for name in DOCUMENTS:
        for block in re.findall(r"^```sh\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL):
            yield from re.findall(r"^cxr-[a-z]+ .*$", block, re.MULTILINE)


def test_the_reference_lists_every_option_of_every_command() -> None:
    sections = re.split(r"^##+ ", text_of("docs/reference/cli.md"), flags=re.MULTILINE)
    listed = {section.split("\n", 1)[0]: set(re.findall(r"`(--[a-z-]+)`", section)) for section in sections}
    for program, known in commands().items():
        for name, command in known.items():
            if not command.hidden:
                assert listed[f"{program} {name}".strip()] == options_of(command) - {"--help"}


def test_every_option_in_the_documents_exists() -> None:
    known = {option for program in commands().values() for each in program.values() for option in options_of(each)}
    for name in DOCUMENTS:
        named = set(re.findall(r"`(--[a-z][a-z-]*)", text_of(name)))
        assert named <= known | FOREIGN_OPTIONS, name
    assert len(known) > 30


def test_every_command_line_in_the_documents_is_valid() -> None:
    lines = list(shown_commands())
    assert len(lines) > 20
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        known = commands()[program]
        command = known.get(words[0] if words else "", known[""])
        options = {word for word in words if word.startswith("--")}
        extra = options_of(known["all"]) | {"--all"} if program == "cxr-train" else set()
        assert options <= options_of(command) | extra, line


def test_defaults_in_the_documents_are_those_of_the_program() -> None:
    denoise, report = text_of("docs/guide/denoise.md"), text_of("docs/guide/report.md")
    defaults = {parameter.name: parameter.default for parameter in commands()["cxr-infer"]["dir"].params}
    assert defaults["memory"] == Settings().memory == DEFAULT_MEMORY
    assert f"limits the memory of the network, in MB; the default is {DEFAULT_MEMORY}." in denoise
    assert f"by default above {MAX_PIXELS // 10**6} million pixels" in denoise
    assert defaults["report_limit"] == REPORT_LIMIT
    assert f"Up to {REPORT_LIMIT} images" in report
    assert f"http://127.0.0.1:{WEB_PORT}/" in text_of("docs/guide/browser.md")
    assert (defaults["model"], defaults["deidentify"], defaults["out"]) == ("window", "no", None)
    assert all(f"`{name}`" in denoise for name in MODEL_NAMES)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_existing_files(name: str) -> None:
    """The build of the site checks the anchors as well."""
    text, folder = text_of(name), (REPOSITORY / name).parent
    targets = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)]
    for target in targets:
        path = target.split("#")[0]
        assert "://" in target or (folder / path).exists(), target


@pytest.mark.parametrize(
    ("document", "promise", "test"),
    [(name, promise, test) for name, all_of in PROMISES.items() for promise, tests in all_of.items() for test in tests],
)
def test_every_promise_has_a_test(document: str, promise: str, test: str) -> None:
    assert promise in " ".join(text_of(document).split()), "a promise was reworded: check that its test still fits"
    file, function = test.split("::")
    named = [path for path in _tests() if path.name == file]
    assert any(re.search(rf"^def {function}\w*\(", path.read_text(), re.MULTILINE) for path in named), test


def test_every_page_of_the_guide_has_tested_promises() -> None:
    guide = {page.relative_to(REPOSITORY).as_posix() for page in (REPOSITORY / "docs" / "guide").glob("*.md")}
    assert {"README.md", "SECURITY.md", *guide} == PROMISES.keys()
    assert all(PROMISES.values())


def _tests() -> Iterator[Path]:
    yield from (REPOSITORY / "tests").rglob("test_*.py")
