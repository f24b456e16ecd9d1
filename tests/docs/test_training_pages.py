"""The pages about training match the program and the measurements."""

from __future__ import annotations

import re

import typer

from cxr_train.cli import app
from cxr_train.config import CURVE, LOG
from cxr_train.log import TENSORBOARD
from cxr_train.specs import SPECS
from tests.conftest import REPOSITORY
from tests.docs.test_readme import rows_of

TRAINING, NETWORK = ((REPOSITORY / "docs" / name).read_text() for name in ("training.md", "network.md"))
EXPERIMENTS = (REPOSITORY / "train" / "EXPERIMENTS.md").read_text()


def test_every_option_mentioned_exists() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {name for command in commands.values() for option in command.params for name in option.opts}
    for page in (TRAINING, NETWORK):
        lines = [line for line in page.splitlines() if "cxr-train" in line or line.startswith(("`--", "| `--"))]
        named = {name for line in lines for name in re.findall(r"(?<![\w-])--[a-z-]+", line)}
        assert named - {"--all", "--index-url", "--logdir"} <= known
    assert {"--validate-every", "--validate-images", "--device", "--start", "--csv", "--widths"} <= known


def test_the_page_shows_the_actual_defaults_of_the_network() -> None:
    told = {row[0].strip("`- ").replace("-", "_"): row[1] for row in rows_of(NETWORK) if row[0].startswith("`--")}
    assert told == {name: ",".join(map(str, value)) for name, value in SPECS["window"].arguments.items()}  # type: ignore[arg-type]


def test_every_time_and_figure_of_the_table_was_measured() -> None:
    section = TRAINING.partition("## How long it takes")[2].partition("\n## ")[0]
    rows = rows_of(section)[2:]
    assert len(rows) == 7
    for _, _, time, figures in rows:
        assert all(figure in EXPERIMENTS for figure in re.findall(r"\d+\.\d\d[\d./ ]*\d|0\.\d+", figures)), figures
        minutes = float(time.split()[0])
        parts = [float(number) for number in re.findall(r"\| (\d+(?:\.\d+)?) min", EXPERIMENTS)] + [12.0]
        assert minutes in parts or minutes == 20 + 30 + 47, "or the sum of three rows of one training"


def test_the_cost_of_removing_a_block_was_measured() -> None:
    whole = (35.96, 41.13)
    assert f"all: {whole[0]} / {whole[1]}" in EXPERIMENTS
    section = NETWORK.partition("## What a block costs")[2].partition("\n## ")[0]
    lost = [pair for row in rows_of(section)[2:] for pair in re.findall(r"(\d+\.\d+) / (\d+\.\d+)", row[1])]
    assert len(lost) == 11
    for pair in lost:
        left = " / ".join(f"{all_blocks - float(db):.2f}" for all_blocks, db in zip(whole, pair, strict=True))
        assert left in EXPERIMENTS, pair


def test_the_files_of_a_run_are_named() -> None:
    for name in (LOG, CURVE, f"{TENSORBOARD}/"):
        assert f"| `{name}` |" in TRAINING


def test_the_set_up_block_installs_no_cuda() -> None:
    block = re.findall(r"^```sh\n(.*?)^```", TRAINING, re.MULTILINE | re.DOTALL)[0].splitlines()
    assert "https://download.pytorch.org/whl/cpu" in block[0]
    assert "pip install" in block[1], "torch is installed before the packages that depend on it"


def test_the_set_up_uses_the_pinned_release_of_torch() -> None:
    pinned = re.search(r"^torch==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    block = re.findall(r"^```sh\n(.*?)^```", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    assert f"pip install torch=={pinned[1]} --index-url https://download.pytorch.org/whl/cpu" in block
