"""What `cxr-train` says of itself, and which words it takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cxr_infer.errors import UsageError
from cxr_train.cli import app
from cxr_train.config import DEFAULTS
from cxr_train.loop import computing_device
from tests.conftest import Run
from tests.terminals import terminal

NAMED = "import sys; sys.argv[0] = 'cxr-train'; from cxr_train.cli import main; main()"


def help_of(*words: str) -> str:
    """In one line."""
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "400"})
    assert done.exit_code == 0
    return " ".join(done.stdout.replace("│", " ").split())


def test_the_help_names_what_is_not_obvious() -> None:
    for word in ("--all", "--device", "--minutes", "--resume", "cxr-train window --help"):
        assert word in help_of()


@pytest.mark.parametrize("model", DEFAULTS)
def test_the_help_of_a_model_has_its_defaults(model: str) -> None:
    said, config = help_of(model), DEFAULTS[model]
    for option, value in (
        ("--steps", config.steps),
        ("--batch", config.batch),
        ("--learning-rate", config.learning_rate),
        ("--seed", config.seed),
        ("--workers", config.workers),
    ):
        assert re.search(rf"{option} <\w+> [^<]* Default: {value:g}\.", said), option
    assert re.search(r"--device <str> cpu, cuda or cuda:N\. Default: cuda where torch finds one", said)
    assert f"{config.steps} steps" in help_of()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_help_fits_the_terminal(tmp_path: Path, columns: int) -> None:
    with terminal([sys.executable, "-c", NAMED, "window", "--help"], columns, tmp_path) as shown:
        shown.read()
    assert max(map(len, shown.lines)) <= columns
    assert "--device" in shown.text


def test_all_models_are_asked_for_in_one_word(run: Run) -> None:
    for words in (["--all", "--data", "nowhere"], ["--data", "nowhere", "--all"], ["all", "--data", "nowhere"]):
        done = run("cxr-train", *words)
        assert (done.returncode, done.stderr) == (2, "error: nowhere: no such directory; check the path\n")


def test_a_device_is_there_or_not() -> None:
    assert computing_device("cpu") == torch.device("cpu")
    assert computing_device().type in ("cpu", "cuda")
    with pytest.raises(UsageError, match=r"--device cuda:99: torch .* finds no such GPU; leave --device out"):
        computing_device("cuda:99")
    done = CliRunner().invoke(app, ["window", "--data", ".", "--device", "gpu"])
    assert (done.exit_code, done.stderr) == (2, "error: unknown device 'gpu'; use cpu, cuda or cuda:N\n")
