"""The command line through real processes: input, output, exit status and the files left on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer import __version__
from cxr_infer.formats.readers import read_gray, write_image
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.pixels import from_unit
from tests.conftest import Run, tree


@pytest.fixture
def xrays(tmp_path: Path, noisy_bytes: NDArray[np.uint8], noisy: NDArray[np.float32]) -> Path:
    """A realistic directory: subfolders, spaces and Unicode in names, 8 and 16 bit, a JPEG."""
    folder = tmp_path / "my x-rays"
    write_image(folder / "eight bit.png", noisy_bytes)
    write_image(folder / "Лёгкие" / "sechzehn.tif", from_unit(noisy, np.dtype(np.uint16)))
    write_image(folder / "Лёгкие" / "lossy.jpg", noisy_bytes)
    return folder


def test_version_is_printed(run: Run) -> None:
    assert run("cxr-infer", "--version").stdout == f"cxr-infer {__version__}\n"


def test_a_directory_is_denoised_into_the_same_tree(run: Run, xrays: Path) -> None:
    before = tree(xrays)
    done = run("cxr-infer", "dir", xrays)
    assert done.returncode == 0, done.stderr
    out = xrays.with_name("my x-rays-denoised")
    assert sorted(tree(out)) == ["eight bit.png", "Лёгкие/lossy.jpg.png", "Лёгкие/sechzehn.tif"]
    assert read_gray(out / "eight bit.png").dtype == np.uint8
    assert read_gray(out / "Лёгкие" / "sechzehn.tif").dtype == np.uint16
    assert tree(xrays) == before, "originals are unchanged"
    for name in before:
        assert name in done.stdout
    assert "3 denoised" in done.stdout
    assert "Research use only" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr, "no escape codes without a terminal"


def test_the_table_compares_with_references(run: Run, xrays: Path, tmp_path: Path, clean: NDArray[np.float32]) -> None:
    references = tmp_path / "clean"
    write_image(references / "eight bit.png", from_unit(clean, np.dtype(np.uint8)))
    report = tmp_path / "report.json"
    done = run("cxr-infer", "dir", xrays, "--reference", references, "--json", report)
    assert done.returncode == 0, done.stderr
    assert "PSNR" in done.stdout
    content = json.loads(report.read_text())
    files = {entry["name"]: entry for entry in content["files"]}
    assert files["eight bit.png"]["psnr"] > 28
    assert files["eight bit.png"]["mottle_after"] < 0.3 * files["eight bit.png"]["mottle_before"]
    assert files["Лёгкие/lossy.jpg"]["psnr"] is None
    assert content["summary"]["done"] == 3
    assert len(content["model"]["sha256"]) == 64
    assert content["versions"]["cxr-infer"] == __version__


def test_each_bad_file_is_reported_in_one_line_and_the_run_continues(run: Run, xrays: Path) -> None:
    (xrays / "damaged.png").write_bytes((xrays / "eight bit.png").read_bytes()[:60])
    (xrays / "empty.png").touch()
    (xrays / "notes.txt").write_text("not an image")
    colour = np.zeros((20, 20, 3), np.uint8)
    colour[..., 0] = 90
    cv2.imwrite(str(xrays / "colour.png"), colour)
    done = run("cxr-infer", "dir", xrays)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    failures = [line for line in done.stderr.splitlines() if line.startswith("failed:")]
    assert [name in "\n".join(failures) for name in ("damaged.png", "empty.png", "colour.png")] == [True] * 3
    assert len(failures) == 3
    assert "WARN" not in done.stderr
    assert "ignored 1 file (hidden or not X-rays)" in done.stderr
    assert "3 denoised, 3 failed" in done.stdout
    assert len(tree(xrays.with_name("my x-rays-denoised"))) == 3


def test_results_are_kept_unless_overwrite_is_given(run: Run, xrays: Path) -> None:
    out = xrays.with_name("out")
    write_image(out / "eight bit.png", np.zeros((4, 4), np.uint8))
    assert "1 failed" not in (first := run("cxr-infer", "dir", xrays, "--out", out)).stdout
    assert first.returncode == 1, "the existing file is not a result"
    assert "1 skipped" in first.stdout
    assert read_gray(out / "eight bit.png").shape == (4, 4)
    run("cxr-infer", "dir", xrays, "--out", out, "--overwrite")
    assert read_gray(out / "eight bit.png").shape == (256, 256)


def test_two_inputs_never_become_one_output(run: Run, xrays: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    write_image(xrays / "Лёгкие" / "lossy.jpg.png", noisy_bytes[:64, :64])
    done = run("cxr-infer", "dir", xrays)
    assert done.returncode == 1
    assert "the result of lossy.jpg would be named lossy.jpg.png too" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["dir", "nowhere"], "nowhere: no such directory"),
        (["dir", "empty"], "no images found"),
        (["dir", "full", "--out", "full"], "must not be the input"),
        (["dir", "full", "--out", "full/inside"], "must not be the input directory or inside it"),
        (["dir", "full", "--out", "."], "must not contain the input"),
        (["dir", "full", "--model", "old"], "unknown model 'old'"),
        (["dir", "full", "--model", "gone.onnx"], "no such model file"),
        (["dir", "full", "--strength", "2"], "outside 0..1"),
        (["dir", "full", "--overlap", "-1"], "overlap -1 px is negative"),
        (["dir", "full", "--memory", "1"], "memory 1 MB is too little"),
        (["dir", "full", "--window", "0"], "window 0"),
        (["dir", "full", "--reference", "nowhere"], "nowhere: no such directory"),
        (["dir", "full", "--bogus"], "No such option"),
        (["dir", "full", "--max-pixels", "0"], "max-pixels 0"),
        (["dir", "full", "--white", "70000"], "white 70000 is outside"),
        (["dir", "full", "--deidentify", "yes"], "use a dedicated de-identification tool"),
        (["file", "full/a.png", "full/a.png"], "OUT must not be IN"),
        (["file", "full/a.png", "b.jpg"], "without loss"),
        (["compare", "full/a.png", "full/a.png", "--out", "f.gif"], "PNG"),
        (["sample", "s", "--size", "10"], "too small"),
        (["sample", "s", "--dose", "0"], "dose 0 photons"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_changes_nothing(
    run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8], arguments: list[str], problem: str
) -> None:
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "full" / "a.png", noisy_bytes[:40, :40])
    before = tree(tmp_path)
    done = run("cxr-infer", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == before


def test_strength_0_returns_the_input(run: Run, xrays: Path) -> None:
    run("cxr-infer", "dir", xrays, "--strength", "0")
    out = xrays.with_name("my x-rays-denoised")
    for name in ("eight bit.png", "Лёгкие/sechzehn.tif"):
        np.testing.assert_array_equal(read_gray(out / name), read_gray(xrays / name))


def test_a_single_file_is_denoised_and_not_overwritten(run: Run, xrays: Path, tmp_path: Path) -> None:
    done = run("cxr-infer", "file", xrays / "eight bit.png", "clean.png")
    assert done.returncode == 0, done.stderr
    assert read_gray(tmp_path / "clean.png").shape == (256, 256)
    again = run("cxr-infer", "file", xrays / "eight bit.png", "clean.png")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    gone = run("cxr-infer", "file", "gone.png", "x.png")
    assert gone.returncode == 1
    assert "gone.png" in gone.stderr


@pytest.mark.parametrize("name", ["x.dcm", "x.DICOM", "x.ima"])
def test_the_result_of_a_picture_cannot_have_a_dicom_name(run: Run, xrays: Path, tmp_path: Path, name: str) -> None:
    done = run("cxr-infer", "file", xrays / "eight bit.png", name)
    assert done.returncode == 1
    assert f"is a picture, so its result cannot be DICOM; rename {name}" in done.stderr
    assert not (tmp_path / name).exists()


def test_file_and_compare_print_a_note_once(run: Run, tmp_path: Path, noisy: NDArray[np.float32]) -> None:
    write_image(tmp_path / "twelve.png", (noisy * 4095).astype(np.uint16))
    for command in (("file", "twelve.png", "out.png"), ("compare", "twelve.png", "twelve.png")):
        done = run("cxr-infer", *command)
        assert done.returncode == 0, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("note: twelve.png: uses 12 of 16 bits")


@pytest.mark.slow
def test_sample_then_dir_then_compare(run: Run, tmp_path: Path) -> None:
    assert run("cxr-infer", "sample", "xrays", "--size", "128").returncode == 0
    noisy, clean = tree(tmp_path / "xrays"), tree(tmp_path / "xrays-clean")
    assert sorted(noisy) == sorted(clean)
    done = run("cxr-infer", "dir", "xrays", "--reference", "xrays-clean", "--quiet", "--json", "r.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for entry in json.loads((tmp_path / "r.json").read_text())["files"]:
        assert entry["psnr"] > 25
    name = min(noisy)
    compared = run("cxr-infer", "compare", f"xrays-clean/{name}", f"xrays/{name}", "--out", "figure.png")
    assert compared.returncode == 0, compared.stderr
    figure = cv2.imread(str(tmp_path / "figure.png"))
    assert figure is not None
    assert 3 * 400 < figure.shape[1] < 4 * 400, "noisy, window, clean"
    assert all(word in compared.stdout for word in ("noisy", "window"))
    assert "original" not in compared.stdout
    again = run("cxr-infer", "sample", "xrays", "--size", "128")
    assert again.returncode == 2
    assert tree(tmp_path / "xrays") == noisy


def test_12_bit_data_in_a_16_bit_file_keeps_its_range_and_white_scales_it(
    run: Run, tmp_path: Path, noisy: NDArray[np.float32], clean: NDArray[np.float32]
) -> None:
    stored = (noisy * 4095).astype(np.uint16)
    marked = stored.copy()
    marked[:4, :4] = 5000  # a burned-in mark above the range
    for name, pixels in (("marked", marked), ("twelve", stored), ("zwölf", stored)):
        write_image(tmp_path / "x" / f"{name}.png", pixels)
    done = run("cxr-infer", "dir", "x")
    assert done.stderr.count("--white 4095 lets the model see it") == 1, "reported once"
    result = read_gray(tmp_path / "x-denoised" / "twelve.png")
    assert result.mean() == pytest.approx(stored.mean(), rel=0.02)
    done = run("cxr-infer", "dir", "x", "--white", "4095", "--out", "full")
    assert "note: marked.png: pixels above --white are left unchanged" in done.stderr
    result = read_gray(tmp_path / "full" / "marked.png")
    assert (result[:4, :4] == 5000).all()
    inner = (slice(16, None), slice(16, None))
    assert psnr(clean[inner], result[inner] / np.float32(4095)) > psnr(clean[inner], noisy[inner]) + 10


def test_links_out_of_the_directory_are_followed_only_on_request(
    run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    write_image(tmp_path / "data" / "a.png", noisy_bytes[:64, :64])
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").symlink_to(tmp_path / "data" / "a.png")
    done = run("cxr-infer", "dir", "x")
    assert done.returncode == 1
    assert "--follow-links" in done.stderr
    assert run("cxr-infer", "dir", "x", "--follow-links").returncode == 0
    assert not (tmp_path / "x-denoised" / "a.png").is_symlink()


@pytest.mark.slow
def test_a_lower_dose_makes_more_mottle(run: Run, tmp_path: Path) -> None:
    errors = []
    for dose in (1000, 30):
        folder = tmp_path / str(dose)
        assert run("cxr-infer", "sample", folder, "--size", "64", "--dose", dose).returncode == 0
        name = f"phantom-1-dose-{dose}.png"
        noisy, clean = (read_gray(path / name).astype(float) for path in (folder, tmp_path / f"{dose}-clean"))
        errors.append(np.mean((noisy - clean) ** 2))
    assert errors[1] > 10 * errors[0]


def test_an_empty_shard_reports_nothing_to_denoise(run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "x" / "a.png", noisy_bytes)
    outputs = [run("cxr-infer", "dir", "x", "--shard", f"{share}/2").stdout for share in (1, 2)]
    (empty,) = (text for text in outputs if "1 denoised. Research use only" not in text)
    assert empty.startswith("nothing to denoise. Research use only")


def test_models_lists_the_installed_models(run: Run) -> None:
    done = run("cxr-infer", "models")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("original", "new", "window"))
    assert "NO: reinstall" not in done.stdout


def test_a_long_run_lists_only_the_worst_results(run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    for index in range(30):
        write_image(tmp_path / "many" / f"{index:02}.png", noisy_bytes[:32, : 32 + index])
    done = run("cxr-infer", "dir", "many")
    assert "the 5 worst of 30" in done.stdout
    assert sum(f"{index:02}.png" in done.stdout for index in range(30)) == 5


def test_a_link_in_the_output_cannot_lead_back_to_the_originals(run: Run, xrays: Path, tmp_path: Path) -> None:
    before = tree(xrays)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Лёгкие").symlink_to(xrays / "Лёгкие")
    done = run("cxr-infer", "dir", xrays, "--out", "out", "--overwrite")
    assert done.returncode == 1
    assert done.stderr.count("leads back into the input") == 2
    assert tree(xrays) == before


@pytest.mark.slow
def test_reports_over_images_and_unwritable_outputs_are_refused_first(run: Run, xrays: Path) -> None:
    before = tree(xrays)
    for arguments, problem in (
        (["--json", xrays / "eight bit.png"], "ends in .json"),
        (["--json", xrays / "report.json"], "inside the input"),
        (["--out", "/proc/nope"], "cannot be written to"),
    ):
        done = run("cxr-infer", "dir", xrays, *arguments)
        assert done.returncode == 2, done.stderr
        assert problem in done.stderr
        assert tree(xrays) == before


def test_names_that_are_not_utf8_or_look_like_markup_are_accepted(
    run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    folder = tmp_path / "x"
    write_image(folder / "scan[left].png", noisy_bytes[:40, :40])
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes((folder / "scan[left].png").read_bytes())
    done = run("cxr-infer", "dir", folder, "--json", "report.json", PYTHONUTF8="1")
    assert done.returncode == 0, done.stderr
    assert "scan[left].png" in done.stdout
    assert len(json.loads((tmp_path / "report.json").read_text())["files"]) == 2
    assert len(tree(tmp_path / "x-denoised")) == 2


def test_multi_page_files_are_refused_not_cut_to_one_page(
    run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    (tmp_path / "x").mkdir()
    cv2.imwritemulti(str(tmp_path / "x" / "pages.tif"), [noisy_bytes, noisy_bytes])
    done = run("cxr-infer", "dir", "x")
    assert done.returncode == 1
    assert "pages.tif: has several pages" in done.stderr


def test_a_model_with_a_fixed_input_size_is_refused(run: Run, xrays: Path, identity_onnx: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(identity_onnx)
    for side in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[side].dim_value = 48 + 16 * side
    path = xrays.parent / "fixed.onnx"
    onnx.save(model, path)
    done = run("cxr-infer", "dir", xrays, "--model", path)
    assert done.returncode == 2
    assert "takes 80x96 only" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worst_results_are_chosen_among_those_with_a_reference(
    run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    for index in range(30):
        write_image(tmp_path / "many" / f"{index:02}.png", noisy_bytes[:32, : 32 + index])
    write_image(tmp_path / "clean" / "07.png", noisy_bytes[:32, :39])
    done = run("cxr-infer", "dir", "many", "--reference", "clean")
    assert "the 1 worst of 30" in done.stdout
    assert "07.png" in done.stdout
