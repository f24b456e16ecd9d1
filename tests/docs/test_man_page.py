"""The man page matches the program."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from types import ModuleType

import pytest
import typer

from cxr_infer.cli.commands import app
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "cxr-infer.1"


@pytest.fixture
def maker() -> ModuleType:
    """docs/make_man_page.py, which is not part of a package."""
    specification = importlib.util.spec_from_file_location("make_man_page", REPOSITORY / "docs" / "make_man_page.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_man_page_is_up_to_date(maker: ModuleType) -> None:
    assert PAGE.read_text() == maker.man_page(), "run python docs/make_man_page.py"


def test_the_man_page_has_every_command_and_option() -> None:
    page = PAGE.read_text()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f".SH COMMAND {name.upper()}\n" in page
        for option in (name for parameter in command.params for name in parameter.opts if name.startswith("-")):
            assert option.replace("-", "\\-") in page, option


def test_groff_reads_the_man_page_without_a_warning() -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z", str(PAGE)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
