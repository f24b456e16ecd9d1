"""Command lines that users type without reading the docs: they work, or the error suggests a correction."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from cxr_infer import __version__
from cxr_infer.cli.commands import app
from cxr_infer.formats.readers import read_gray, write_image
from cxr_infer.model.card import sha256
from tests.conftest import Run, tree
from tests.infer.formats.dicom.dicom_files import RAMP, computed, encoded, stored
from tests.terminals import terminal

NAMED = "import sys; sys.argv[0] = 'cxr-infer'; from cxr_infer.__main__ import main; main()"
PANELS = ("Basic", "Measure", "Advanced", "Many machines")


def cxr_infer(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    """Run a command that must succeed and return its stdout."""
    result = cxr_infer(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def here(tmp_path: Path, noisy_bytes: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a folder of X-rays and a few single ones."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(("x/a.png", "x/ward/b.png", "one.png", "two.png", "three.jpg")):
        write_image(tmp_path / name, noisy_bytes[8 * index : 8 * index + 64, 64:128])
    (tmp_path / "IM1").write_bytes(encoded(computed(stored(RAMP, 12), 12)))
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        "dir x out",
        "dir x -o out",
        "dir -o out x",
        "dir x out --out out",
        "x out",
        "x/ -o out",
        "-o out x",
        "--out=out --model window x",
        "-m window -oout x",
        "-m window --precision auto -q x out",
        "--strength 1 -- x out",
        "-v dir x out",
        "-m window --out=out dir x",
    ],
)
def test_a_directory_is_denoised_by_every_spelling(here: Path, arguments: str) -> None:
    done(*arguments.split())
    assert sorted(tree(here / "out")) == ["a.png", "ward/b.png"]


@pytest.mark.parametrize(
    "arguments", ["file one.png out.png", "one.png out.png", "-o out.png one.png", "one.png -o out.png"]
)
def test_a_file_is_denoised_by_every_spelling(here: Path, arguments: str) -> None:
    assert "result written to out.png" in done(*arguments.split())
    assert read_gray(here / "out.png").shape == (64, 64)


def test_results_get_default_names(here: Path) -> None:
    (here / "odd.name").write_bytes((here / "one.png").read_bytes())
    (here / "scan.jpg").write_bytes((here / "IM1").read_bytes())
    for source, result in (
        ("one.png", "one-denoised.png"),
        ("three.jpg", "three-denoised.jpg.png"),
        ("IM1", "IM1-denoised"),
        ("x/ward/b.png", "x/ward/b-denoised.png"),
        ("odd.name", "odd.name-denoised"),
        ("scan.jpg", "scan-denoised.jpg"),
    ):
        before = tree(here)
        assert f"result written to {result}" in done(source)
        assert tree(here).keys() - before.keys() == {result}
        again = cxr_infer(source)
        assert (again.exit_code, again.stderr) == (2, f"error: {result}: exists; use --overwrite or another name\n")
    done("x")
    assert sorted(tree(here / "x-denoised")) == ["a.png", "ward/b-denoised.png", "ward/b.png"]


def test_several_files_are_denoised_in_one_command(here: Path) -> None:
    before = tree(here)
    output = done("one.png", "two.png", "three.jpg")
    assert "3 denoised" in output
    assert tree(here).keys() - before.keys() == {"one-denoised.png", "two-denoised.png", "three-denoised.jpg.png"}
    done("file", "one.png", "IM1", "-o", "new/folder")
    assert sorted(tree(here / "new" / "folder")) == ["IM1", "one.png"]
    (here / "old").mkdir()
    done("one.png", "old")
    done("two.png", "three.jpg", "old")
    assert sorted(tree(here / "old")) == ["one.png", "three.jpg.png", "two.png"]
    assert before.items() <= tree(here).items()


def test_one_failing_file_does_not_stop_the_others(here: Path) -> None:
    (here / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = cxr_infer("one.png", "bad.png", "two.png", "-o", "out")
    assert result.exit_code == 1
    assert "failed: bad.png" in result.stderr
    assert "2 denoised, 1 failed" in result.stdout
    assert sorted(tree(here / "out")) == ["one.png", "two.png"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("modles", "modles: no such file, directory or command; did you mean models?"),
        ("nowhere", "nowhere: no such file, directory or command; cxr-infer --help shows all commands"),
        ("denoise x", "denoise: no such file, directory or command; to denoise x: cxr-infer x"),
        ("x --reference x", "x: is the input itself; give --reference the directory of the clean images"),
        ("dir --watch nowhere", "nowhere: no such directory; check the path"),
        ("-m window nowhere/x.png", "nowhere/x.png: no such file, directory or command"),
        ("one.png two.png", "two.png: exists; use --overwrite or another name; to denoise both, use -o DIRECTORY"),
        ("x out -o elsewhere", "results cannot go to both out and elsewhere; give OUT or --out"),
        ("one.png one.png -o out", "one.png: its result would replace that of one.png"),
        ("x/a.png x/ward/../a.png -o out", "x/ward/../a.png: its result would replace that of x/a.png"),
        ("one.png x three.jpg", "x: is a directory, not an image; `cxr-infer dir` denoises directories"),
        ("one.png new.jpg", "new.jpg: results are written without loss"),
        ("--threads 100000 x", "threads 100000 is too many; use 1024 or fewer"),
        ("one.png - two.png", "- stands for a single image"),
        ("models --path windo", "unknown model 'windo'; did you mean window?"),
        ("models --path original --precision int8", "model original has no int8 file"),
        (
            "models --path window --json",
            "--verify, --path and --json exclude each other; give only one of these options",
        ),
    ],
)
def test_invalid_command_lines_are_explained_in_one_line(here: Path, arguments: str, problem: str) -> None:
    before = tree(here)
    result = cxr_infer(*arguments.split())
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {problem}")
    assert result.stderr.count("\n") == 1
    assert tree(here) == before


def test_a_command_takes_precedence_over_a_path_of_its_name(here: Path) -> None:
    (here / "models").mkdir()
    assert "sha256" in done("models")
    assert "no images found" in cxr_infer("./models").stderr
    assert "no images found" in cxr_infer("-v", "models").stderr, "after an option, a path that exists is meant"
    assert "no images found" in cxr_infer("--", "models").stderr


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_and_help_have_several_spellings(run: Run, option: str) -> None:
    assert run("cxr-infer", option).stdout == f"cxr-infer {__version__}\n"
    assert done(option) == f"cxr-infer {__version__}\n"
    assert done("help") == done("--help") == done("-h")
    assert done("help", "dir") == done("dir", "--help") == done("-v", "help", "dir")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_has_panels_and_examples_that_fit_the_terminal(here: Path, columns: int) -> None:
    with terminal([sys.executable, "-c", NAMED, "dir", "--help"], columns, here) as shown:
        shown.read()
    assert [line.split("─")[1].strip() for line in shown.lines if line.startswith("╭─ ")][-4:] == list(PANELS)
    examples = "\n".join(shown.lines).partition("Examples:")[2]
    assert len(re.findall(r"^ cxr-infer ", examples, re.MULTILINE)) == 3
    assert max(map(len, shown.lines)) <= columns
    assert "<auto|fp32|int8>" in shown.text or columns == 60


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("--precision ", {"auto", "fp32", "int8"}),
        ("--precision f", {"fp32"}),
        ("--compress ", {"keep", "none"}),
        ("--engine ", {"local", "ray"}),
        ("--model ", {"window", "original", "new", "runs/", "mine.onnx", "x/"}),
        ("--model w", {"window"}),
        ("--model runs/", {"runs/window/"}),
    ],
)
def test_option_values_are_completed(here: Path, words: str, offered: set[str]) -> None:
    (here / "runs" / "window").mkdir(parents=True)
    (here / "mine.onnx").touch()
    command = ["cxr-infer", "dir", *words.split(" ")]
    environment = {
        **os.environ,
        "_CXR_INFER_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(command),
        "COMP_CWORD": str(len(command) - 1),
    }
    completed = subprocess.run([sys.executable, "-c", NAMED], env=environment, cwd=here, capture_output=True, text=True)
    assert set(completed.stdout.split()) == offered, completed.stderr


@pytest.mark.slow
def test_piped_images_give_the_bytes_of_a_result_file(here: Path) -> None:
    done("one.png", "expected.png")
    expected, dicom = (here / "expected.png").read_bytes(), (here / "IM1").read_bytes()
    for arguments in (("file", "-", "-"), ("-",), ("one.png", "-"), ("file", "-", "-o", "-")):
        piped = subprocess.run(
            [sys.executable, "-c", NAMED, *arguments],
            input=(here / "one.png").read_bytes(),
            cwd=here,
            capture_output=True,
        )
        assert piped.returncode == 0
        assert all(line.startswith(b"note: ") for line in piped.stderr.splitlines())
        assert piped.stdout == expected
    command = [sys.executable, "-c", NAMED, "-"]
    jpeg = subprocess.run(command, input=(here / "three.jpg").read_bytes(), capture_output=True)
    assert jpeg.stdout.startswith(b"\x89PNG")
    assert subprocess.run(command, input=dicom, capture_output=True).stdout[128:132] == b"DICM"
    named = subprocess.run([*command, "out.png"], input=(here / "one.png").read_bytes(), cwd=here, capture_output=True)
    assert named.returncode == 0
    assert (here / "out.png").read_bytes() == expected


@pytest.mark.parametrize(
    ("redirected", "problem"),
    [
        ("< /dev/null", "standard input: is empty; pipe an image in"),
        ("< one.png > /dev/full", "standard output: cannot be written: No space left on device"),
        ("< three.jpg > /dev/full", "standard output: cannot be written"),
        ("< one.png --max-pixels 9", "standard input: 64x64 pixels are more than the 9 allowed"),
    ],
)
def test_a_failing_pipe_is_reported_in_one_line(here: Path, redirected: str, problem: str) -> None:
    command = f'"$@" file - - {redirected}'
    piped = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", NAMED], cwd=here, capture_output=True, text=True
    )
    assert piped.returncode == 1
    assert piped.stderr.startswith(f"error: {problem}")
    assert piped.stderr.count("\n") == 1


def test_images_are_not_read_from_or_written_to_a_terminal(here: Path) -> None:
    for arguments, problem in (
        (("file", "one.png", "-"), "error: standard output is a terminal; redirect it, as in > out.png"),
        (("file", "-", "out.png"), "error: standard input is a terminal; pipe an image in, as in < in.png"),
    ):
        with terminal([sys.executable, "-c", NAMED, *arguments], 120, here) as shown:
            assert problem in shown.read()
            assert shown.process.wait() == 2


def test_models_path_prints_the_path_alone(here: Path) -> None:
    path = Path(done("models", "--path", "window").removesuffix("\n"))
    assert path.name == "model.onnx"
    assert [node.name for node in onnxruntime.InferenceSession(path).get_inputs()] == ["noisy", "noise_level"]
    small = Path(done("models", "--path", "window", "--precision", "int8").removesuffix("\n"))
    assert (small.parent, small.name) == (path.parent, "model.int8.onnx")
    estimate = Path(done("models", "--path", "noise_level").removesuffix("\n"))
    assert [node.name for node in onnxruntime.InferenceSession(estimate).get_outputs()] == ["noise_level"]
    assert done("models", "--path", path.parent) == f"{path}\n"
    assert done("models", "--path", path) == f"{path}\n"


def test_models_are_listed_as_json(here: Path) -> None:
    models = json.loads(done("models", "--json"))
    found = {(m["name"], m["precision"]) for m in models}
    assert found >= {("window", "fp32"), ("window", "int8"), ("new", "fp32"), ("noise_level", "fp32")}
    for model in models:
        assert model["sha256"] == sha256(Path(model["path"]))
        assert model["bytes"] == Path(model["path"]).stat().st_size
        assert model["intact"] is True
