"""pyproject.toml, the Dockerfile, CI and the commit hooks agree with each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from cxr_infer import __version__
from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (REPOSITORY / "constraints.txt").read_text()


def text(name: str) -> str:
    return (REPOSITORY / name).read_text()


def copied() -> list[str]:
    """Return the files and directories of the checkout that the Dockerfile copies."""
    lines = re.findall(r"^COPY (?!--)(.+) \S+$", text("Dockerfile"), re.MULTILINE)
    return [name for line in lines for name in line.split()]


def wheel_of(checkout: Path, place: Path) -> set[str]:
    wheel = pytest.importorskip("hatchling.builders.wheel")
    built = next(wheel.WheelBuilder(str(checkout)).build(directory=str(place), versions=["standard"]))
    assert f"-{__version__}-py3-" in built
    return set(zipfile.ZipFile(built).namelist())


@pytest.mark.slow
def test_the_dockerfile_copies_everything_the_wheel_needs(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in copied():
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, tmp_path / "source" / name, ignore=ignored)
        else:
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, tmp_path / "source" / name)
    assert wheel_of(tmp_path / "source", tmp_path / "a") == wheel_of(REPOSITORY, tmp_path / "b")


def test_the_docker_context_contains_only_what_is_copied() -> None:
    *given, caches = text(".dockerignore").splitlines()[1:]
    assert given[0] == "*"
    assert {name.removeprefix("!") for name in given[1:]} == set(copied())
    assert caches == "**/__pycache__"
    assert "USER 65534" in text("Dockerfile"), "the image runs as nobody, not as root"


def test_dockerfile_and_guide_give_the_same_commands() -> None:
    def commands(name: str) -> str:
        return " ".join(re.sub(r"^#|\\$", "", text(name), flags=re.MULTILINE).split())

    run = 'docker run --rm --network none --read-only --tmpfs /tmp --user "$(id -u):$(id -g)" -v "$PWD/xrays:/xrays:ro"'
    for command in ("docker build -t cxr-infer .", f'{run} -v "$PWD/out:/out" cxr-infer dir /xrays --out /out'):
        assert command in commands("Dockerfile")
        assert command in commands("docs/guide/install.md")


def test_classifiers_list_the_allowed_python_versions() -> None:
    oldest = int(PROJECT["requires-python"].removeprefix(">=3."))
    named = [int(m[1]) for c in PROJECT["classifiers"] if (m := re.fullmatch(r"Programming Language.* 3\.(\d+)", c))]
    assert named == list(range(oldest, 15))
    assert text(".ci/wheel").count("requires-python") == 1, "CI tests the oldest Python"


def test_every_development_tool_is_pinned() -> None:
    """Commit hooks, other developers and CI then get the same messages."""
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in CONSTRAINTS.splitlines() if "==" in line}
    for requirement in PROJECT["optional-dependencies"]["dev"]:
        name = re.split(r"[\[<>=~]", requirement)[0].lower()
        assert name == PROJECT["name"] or name in pinned, requirement


def test_ci_and_commit_hooks_run_the_same_tools() -> None:
    hooks = re.findall(r"^ +entry: (\S+)(?: (\S+))?", text(".pre-commit-config.yaml"), re.MULTILINE)
    commands = {" ".join(filter(None, words)).replace(" --maxkb=800", "") for words in hooks}
    assert commands == {"ruff format", "ruff check", "mypy", "codespell", "check-added-large-files"}
    for command in commands - {"check-added-large-files"}:
        assert re.search(rf"^{command}\b", text(".ci/run"), re.MULTILINE), command
    assert ".ci/wheel" in text(".ci/run").splitlines()


@pytest.mark.slow
def test_the_hooks_pass_on_the_last_commit(tmp_path: Path) -> None:
    """All hooks but mypy, which CI runs, pass on the files of the last commit, whatever else is in the checkout."""
    pytest.importorskip("pre_commit")
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no git checkout")
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, tmp_path / "clone"], check=True)
    done = subprocess.run(
        ["pre-commit", "run", "--all-files"],
        cwd=tmp_path / "clone",
        capture_output=True,
        text=True,
        env={**os.environ, "SKIP": "mypy", "PRE_COMMIT_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passed") == 4, done.stdout
