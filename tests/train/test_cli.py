"""The help and the options of `cxr-train`."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cxr_infer.errors import UsageError
from cxr_train.checkpoint import write_tensors
from cxr_train.cli import app
from cxr_train.config import STATE_FILE, TrainConfig
from cxr_train.data import XrayFiles
from cxr_train.loop import computing_device
from cxr_train.models import build_model
from cxr_train.specs import SPECS
from tests.conftest import Run
from tests.terminals import terminal

NAMED = "import sys; sys.argv[0] = 'cxr-train'; from cxr_train.cli import main; main()"


def help_of(*words: str) -> str:
    """Return the help of a command as one line."""
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "400"})
    assert done.exit_code == 0
    return " ".join(done.stdout.replace("│", " ").split())


def test_the_help_names_options_that_are_not_obvious() -> None:
    for word in ("--all", "--device", "--minutes", "--resume", "cxr-train window --help"):
        assert word in help_of()


@pytest.mark.parametrize("model", SPECS)
def test_the_help_of_a_model_shows_its_defaults(model: str) -> None:
    said, config = help_of(model), SPECS[model].defaults
    for option, value in (
        ("--steps", config.steps),
        ("--batch", config.batch),
        ("--learning-rate", config.learning_rate),
        ("--validate-every", config.validate_every),
        ("--validate-images", config.validate_images),
        ("--seed", config.seed),
        ("--workers", config.workers),
    ):
        assert re.search(rf"{option} <\w+> [^<]* Default: {value:g}\.", said), option
    assert re.search(r"--device <str> cpu, cuda or cuda:N\. Default: cuda if available, else cpu\.", said)
    assert f"{config.steps} steps" in help_of()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_help_fits_the_terminal(tmp_path: Path, columns: int) -> None:
    with terminal([sys.executable, "-c", NAMED, "window", "--help"], columns, tmp_path) as shown:
        shown.read()
    assert max(map(len, shown.lines)) <= columns
    assert "--device" in shown.text


def test_one_word_selects_all_models(run: Run) -> None:
    for words in (["--all", "--data", "nowhere"], ["--data", "nowhere", "--all"], ["all", "--data", "nowhere"]):
        done = run("cxr-train", *words)
        assert (done.returncode, done.stderr) == (2, "error: nowhere: no such directory; check the path\n")


def test_unavailable_and_unknown_devices_are_refused() -> None:
    assert computing_device("cpu") == torch.device("cpu")
    assert computing_device().type in ("cpu", "cuda")
    with pytest.raises(UsageError, match=r"--device cuda:99: torch .* finds no such GPU; omit --device"):
        computing_device("cuda:99")
    done = CliRunner().invoke(app, ["window", "--data", ".", "--device", "gpu"])
    assert (done.exit_code, done.stderr) == (2, "error: unknown device 'gpu'; use cpu, cuda or cuda:N\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["window", "--widths", "32,64,96"], "--widths '32,64,96': use 4 whole numbers from 1 to 4096, such as 32,64,"),
        (["window", "--widths", "32,64,96,0"], "--widths '32,64,96,0': use 4 whole numbers from 1 to 4096"),
        (["window", "--widths", "32,64,96,many"], "--widths '32,64,96,many': use 4 whole numbers"),
        (["window", "--encoder-blocks", "1,2,2,65"], "--encoder-blocks '1,2,2,65': use 4 whole numbers from 0 to 64"),
        (["window", "--decoder-blocks", "1,2,2,1"], "--decoder-blocks '1,2,2,1': use 3 whole numbers from 0 to 64"),
        (["window", "--validate-every", "0"], "--validate-every 0 is invalid; use a finite number above 0"),
        (["window", "--validate-images", "-1"], "--validate-images -1 is invalid; use a finite number above 0"),
        (["new", "--widths", "8,8,8,8"], "--widths applies to `window` only; omit it for new"),
        (["original", "--crop", "64"], "--crop applies to `window` only; omit it for original"),
        (
            ["--all", "--start", "window"],
            "--start works for one model at a time, such as cxr-train window --start",
        ),
        (["evaluate", "--model", "windows"], "unknown model 'windows'; use original, new, window"),
        (["evaluate", "--weights", ".", "--model", "new"], "new/checkpoint.safetensors: no such checkpoint; train it"),
    ],
)
def test_wrong_options_are_refused_before_data_is_read(arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, [*arguments, "--data", "nowhere"])
    assert done.exit_code == 2
    assert problem in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_network_options_reach_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, object]] = {}
    monkeypatch.setattr("cxr_train.cli.train_one", lambda model, *given, **named: seen.update({model: given[2]}))
    options = ["--widths", "8, 16,16,24", "--decoder-blocks", "0,0,1", "--validate-every", "7"]
    assert CliRunner().invoke(app, ["--all", *options, "--data", "."]).exit_code == 0
    whole_image = {"validate_every": 7}
    network = {"widths": [8, 16, 16, 24], "decoder_blocks": [0, 0, 1]}
    assert seen == {"original": whole_image, "new": whole_image, "window": {**whole_image, "arguments": network}}
    assert build_model("window", network).arguments == {"encoder_blocks": [1, 2, 2, 0], **network}


def test_a_resumed_run_keeps_its_network(files: XrayFiles, small_config: TrainConfig, tmp_path: Path) -> None:
    state = tmp_path / "runs" / "window" / STATE_FILE
    write_tensors(state, {"x": torch.zeros(1)}, {"config": asdict(small_config)})
    out = ["--out", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, ["window", "--data", str(files.root), *out, "--resume", "--widths", "8,8,8,16"])
    assert done.exit_code == 2
    assert done.stderr.endswith("a resumed run keeps its network; start a new run with another --out\n")
