"""Error messages of the command line: what was found, and what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from cxr_infer.cli.commands import app
from cxr_infer.errors import UsageError
from cxr_infer.files import require_directory
from cxr_infer.formats.readers import write_image
from cxr_infer.model.card import weights_directory
from cxr_infer.model.installed import model_path
from cxr_infer.report.text import printable
from tests.conftest import tree

BMP = b"BM" + bytes(12) + b"\x28\0\0\0"
CONTENTS = {
    b"\xff\xd8\xff\xe0\0\x10JFIF": "a JPEG by its content, not DICOM; rename it",
    b"II*\0\x08\0\0\0": "a TIFF by its content, not DICOM",
    b"MM\0+\0\x08\0\0": "a TIFF by its content",
    BMP: "a BMP by its content",
    b"P5\n2 2\n255\nabcd": "a PGM by its content",
    b"RIFF\x10\0\0\0WEBPVP8L": "a WebP by its content",
    b"%PDF-1.7": "a PDF by its content, not DICOM; convert it to PNG",
    b"PK\x03\x04rest": "a ZIP archive by its content, not DICOM; unpack it first",
    b"\x1f\x8b\x08": "a gzip archive",
    b"GIF89a": "a GIF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 picture",
    b"version https://git-lfs.github.com/spec/v1\n": "a Git LFS pointer by its content, not DICOM; fetch the image",
    b"<!DOCTYPE html><html>": "a web page",
    "Röntgenbild von gestern".encode(): "a text file by its content, not DICOM; is it the right file?",
    bytes(400): "not a DICOM file (no DICM after the first 128 bytes); is it damaged?",
}


def outcome_of(*arguments: object) -> tuple[int, str]:
    """Run a command and return its exit status and stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.stderr


@pytest.fixture
def here(tmp_path: Path, noisy_bytes: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: an X-ray, a folder of two, and references that match one, none or another size."""
    monkeypatch.chdir(tmp_path)
    for name in ("one.png", "x/a.png", "x/b.png", "clean/b.png", "others/c.png", "small/a.png"):
        side = 16 if name.startswith("small") else 64
        write_image(tmp_path / name, noisy_bytes[64 : 64 + side, 64 : 64 + side])
    (tmp_path / "nothing").mkdir()
    (tmp_path / "dangling").symlink_to("gone")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("dir nowhere", "nowhere: no such directory; check the path"),
        ("dir dangling", "dangling: is a broken link"),
        ("dir one.png", "one.png: is a file, not a directory; for one image use `cxr-infer file`"),
        ("dir fifo", "fifo: is a FIFO, not a directory"),
        ("dir x --reference nowhere", "nowhere: no such directory"),
        ("dir x --reference one.png", "one.png: is a file, not a directory; give --reference"),
        ("dir x --reference others", "others: has no file with the name of an input image, such as a.png"),
        ("dir x --reference nothing", "nothing: has no file with the name of an input image"),
        ("dir x --out one.png", "one.png: is a file, not a directory; give another --out"),
        ("file x y.png", "x: is a directory, not an image; `cxr-infer dir` denoises directories"),
        ("file fifo y.png", "fifo: is a FIFO, not an image; give one image"),
        ("compare x one.png", "x: is a directory, not an image; give one image"),
        ("compare one.png fifo", "fifo: is a FIFO, not an image"),
        (
            "dir x --model windw",
            "unknown model 'windw'; did you mean window? Use original, new, window, a model's folder",
        ),
        ("dir x --model one.png", "one.png: does not end in .onnx"),
        ("dir x --model gone.onnx", "gone.onnx: no such model file; check the path"),
        (
            "dir x --model nothing",
            "nothing/model.onnx: no such model file; give --model a folder that cxr-export wrote",
        ),
    ],
)
def test_errors_say_what_was_found_and_what_to_do(here: Path, arguments: str, problem: str) -> None:
    before = tree(here)
    status, error = outcome_of(*arguments.split())
    assert (status, error.count("\n")) == (2, 1), error
    assert error.startswith(f"error: {problem}")
    assert tree(here) == before


def test_an_inaccessible_directory_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(UsageError, match="locked: cannot be opened: Permission denied; check the path and its"):
        require_directory(Path("locked"), "")


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_misnamed_as_dicom_is_identified_by_its_content(here: Path, content: bytes) -> None:
    (here / "d").mkdir()
    (here / "d" / "x.dcm").write_bytes(content)
    status, error = outcome_of("dir", "d", "--quiet")
    assert status == 1
    assert CONTENTS[content] in error
    assert error == printable(error.strip()) + "\n"


def test_a_png_misnamed_as_dicom_is_identified(here: Path) -> None:
    shutil.copy("one.png", "one.dcm")
    status, error = outcome_of("file", "one.dcm", "out.dcm")
    assert (status, error) == (1, "error: one.dcm: is a PNG by its content, not DICOM; rename it\n")


def test_a_pdf_misnamed_as_png_is_identified(here: Path) -> None:
    Path("y.png").write_bytes(b"%PDF-1.7\n")
    assert (
        "y.png: is a PDF, not an image in a supported format; convert it to PNG"
        in outcome_of("file", "y.png", "out.png")[1]
    )


def test_references_of_the_wrong_size_fail_the_run(here: Path) -> None:
    """This is noticed only when they are read: the results exist, the comparison does not."""
    status, error = outcome_of("dir", "x", "--reference", "small")
    assert status == 1
    assert "note: a.png: the reference is 16x16, the image 64x64" in error
    assert "error: small: no result could be compared with a reference" in error
    assert (here / "x-denoised" / "a.png").is_file()
    assert outcome_of("dir", "x", "--reference", "clean")[0] == 0, "one reference for two images is enough"


def test_a_shard_without_references_is_not_a_failure(here: Path) -> None:
    statuses = [outcome_of("dir", "x", "--reference", "clean", "--shard", f"{index}/3")[0] for index in (1, 2, 3)]
    assert statuses == [0, 0, 0]


def test_a_model_can_be_given_by_its_folder(here: Path) -> None:
    shipped = weights_directory() / "window"
    folder = here / "runs" / "window"
    folder.mkdir(parents=True)
    shutil.copy(shipped / "checkpoint.safetensors", folder)
    for arguments, problem in (
        ("runs/window", "model.onnx: no such model file; export its checkpoint first: cxr-export window --weights"),
        ("runs/window/checkpoint.safetensors", "is a training checkpoint; export it with cxr-export"),
    ):
        status, error = outcome_of("dir", "x", "--model", arguments, "--precision", "fp32")
        assert status == 2
        assert problem in error
    shutil.copy(shipped / "model.int8.onnx", folder)
    assert model_path(folder).name == "model.int8.onnx", "the only file, whatever the CPU"
    shutil.copy(shipped / "model.onnx", folder)
    assert model_path(folder, "int8").name == "model.int8.onnx"
    assert model_path(folder, "fp32").name == "model.onnx"
    status, error = outcome_of("dir", "x", "--model", "runs")
    assert (status, "give --model runs/window" in error) == (2, True)
    assert outcome_of("dir", "x", "--model", "runs/window", "--precision", "fp32")[0] == 0
    (folder / "model.int8.onnx").unlink()
    status, error = outcome_of("dir", "x", "--model", "runs/window", "--precision", "int8")
    assert (status, "model window has no int8 file; use --precision fp32" in error) == (2, True)
    (folder / "model.onnx").rename(folder / "mine.onnx")
    assert "give --model runs/window/mine.onnx" in outcome_of("dir", "x", "--model", "runs/window")[1]
