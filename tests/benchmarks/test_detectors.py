from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmarks.detector_noise import expose
from benchmarks.detectors import (
    COMMAND,
    PUBLISHED_BM3D,
    app,
    figures,
    published_bm3d,
    score_noise,
    second_exposure,
)
from benchmarks.detectors_tables import DetectorReport
from benchmarks.faint import variance_left
from benchmarks.found import AS_THEY_ARE, SMOOTHED_FIRST, found_over_added
from benchmarks.pages import replace_figures
from benchmarks.second_exposure import NAMES, REGIONS, SHAPE
from benchmarks.stabilised import BM3D, BM3D_UNTOLD, NLM, NLM_UNTOLD, told_methods, told_our_estimate, untold_methods
from cxr_infer.errors import DataError
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import FloatImage, to_bytes
from cxr_infer.lab.line_response import count_lines, line_response
from cxr_infer.lab.noise import KnownNoise, load_detectors
from tests.conftest import REPOSITORY

DETECTORS = load_detectors()


@pytest.fixture(scope="module")
def xray() -> FloatImage:
    """A phantom without pixels near black or white, so that clipping removes no noise."""
    return np.asarray(0.25 + 0.5 * render_phantom(2, 256), dtype=np.float32)


def test_scores_are_those_of_the_better_variant(xray: FloatImage) -> None:
    kept, erased = (lambda noisy, told: noisy), (lambda noisy, told: np.full_like(noisy, 0.5))
    methods = {"noisy": (kept,), "one of two": (erased, kept), "erased": (erased,), NLM: told_methods()[NLM]}
    scores = {s.method: s for s in score_noise({"a": xray}, DETECTORS, "canon_dr_chest", 8.0, methods)}
    assert scores["one of two"].psnr == scores["noisy"].psnr == pytest.approx(20 * np.log10(255 / 8), abs=0.3)
    assert scores[NLM].psnr > scores["noisy"].psnr + 4
    assert scores["erased"].lost == scores["erased"].present > 0
    assert scores["erased"].false == 0
    assert scores["noisy"].false > 100
    assert scores["noisy"].noise == "canon_dr_chest, 8"


def test_a_method_given_our_estimate_does_not_see_the_truth(xray: FloatImage) -> None:
    shot = expose(xray, DETECTORS["canon_dr_chest"], "", 8.0, np.random.default_rng(0))
    heard: list[KnownNoise] = []

    def listening(noisy: FloatImage, told: KnownNoise) -> FloatImage:
        heard.append(told)
        return noisy

    wrong = KnownNoise(shot.told.curve * (1, 100), np.ones_like(shot.told.spectrum), poisson=True)
    told_our_estimate(listening)(shot.noisy, wrong)
    (told,) = heard
    sd = np.interp(shot.clean, *told.curve.T)
    assert 255 * float(np.sqrt(np.mean(sd**2))) == pytest.approx(8, rel=0.15)
    assert not told.poisson
    assert told.spectrum.shape == shot.noisy.shape
    assert np.corrcoef(told.spectrum.ravel(), shot.told.spectrum.ravel())[0, 1] > 0.9


def test_an_image_without_measurable_noise_stays_unchanged(xray: FloatImage) -> None:
    exposure = expose(xray, DETECTORS["white"], "", 8.0, np.random.default_rng(0))
    for method in untold_methods()[NLM_UNTOLD]:
        assert method(xray, exposure.told) is xray
        assert psnr(method(exposure.noisy, exposure.told), xray) > psnr(exposure.noisy, xray) + 4


def test_grain_of_the_image_counts_as_noise_unless_smoothed_first(xray: FloatImage) -> None:
    grain = np.random.default_rng(1).normal(0, 4 / 255, xray.shape).astype(np.float32)
    found = found_over_added({"a": xray, "b": xray + grain}, DETECTORS, "white", 3.0)
    assert found[SMOOTHED_FIRST] == pytest.approx([1, 1], abs=0.1)
    assert found[AS_THEY_ARE] == pytest.approx([1, 5 / 3], abs=0.15)


def test_lines_are_counted_per_megapixel(xray: FloatImage) -> None:
    flat = np.full((128, 128), 0.4, np.float32)
    drawn = flat.copy()
    drawn[60:63, 20:100] += np.float32(20 / 255)
    none, one = line_response(flat), line_response(drawn)
    assert count_lines(one, none).tolist() == [1, 1, 0]
    assert count_lines(none, one).tolist() == [0, 0, 1]
    np.testing.assert_allclose(figures(flat, none, drawn)[2:], [0, 0, 1e6 / flat.size])
    assert count_lines(line_response(xray), line_response(xray))[1:].tolist() == [0, 0]


def test_published_figures_apply_only_to_their_images() -> None:
    published = json.loads(PUBLISHED_BM3D.read_text())
    noises = ["white, 8", "canon_dr_chest, 3", "white, 5"]
    rows, source = published_bm3d(published["images"], noises)
    assert [row.noise for row in rows] == noises[:2]
    assert source
    assert published_bm3d(published["images"][:-1], noises) == ([], "")
    rows, both = published_bm3d(published["images"], noises, untold=True)
    assert {(row.noise, row.method) for row in rows} >= {(noises[1], BM3D), (noises[1], BM3D_UNTOLD)}
    assert both.startswith(source)
    assert len(both) > len(source)


def test_variance_left_is_the_square_of_the_amplitude_kept(xray: FloatImage) -> None:
    assert variance_left([xray], lambda image, told: image, 1.5) == pytest.approx(1, abs=1e-3)
    assert variance_left([xray], lambda image, told: image * np.float32(0.5), 1.5) == pytest.approx(0.25, abs=1e-3)
    # white noise under a Gaussian of standard deviation s: 1 / (4 pi s^2)
    blurred = variance_left([xray], lambda image, told: cv2.GaussianBlur(image, (0, 0), 2.0), 1.5)
    assert blurred == pytest.approx(1 / (16 * np.pi), rel=0.05)


def test_figures_are_replaced_between_their_marks() -> None:
    page = (REPOSITORY / "docs" / "benchmarks" / "detectors.md").read_text()
    once = replace_figures(page, "| a |\n", COMMAND)
    assert replace_figures(once, "| a |", COMMAND) == once
    assert "\n\n| a |\n\n" in once
    assert once.partition("<!--")[0] == page.partition("<!--")[0]
    with pytest.raises(DataError, match="the page has no lines"):
        replace_figures(page, "", "another command")


@pytest.fixture(scope="module")
def averaging_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that averages 3x3 px: it removes noise and fine lines."""
    onnx = pytest.importorskip("onnx")
    shape = ["batch", 1, "height", "width"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("AveragePool", ["noisy"], ["denoised"], kernel_shape=[3, 3], auto_pad="SAME_UPPER")],
        "averaging",
        [onnx.helper.make_tensor_value_info("noisy", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("denoised", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    path = tmp_path_factory.mktemp("averaging") / "averaging.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Two 16-bit frames of a scene with fine lines among the line pairs, stronger than the noise."""
    scene = cv2.resize(render_phantom(3, 512), SHAPE[::-1]).astype(np.float64) * 40000 + 10000
    scene[REGIONS["line pairs"]][::2] *= 0.8
    rng = np.random.default_rng(0)
    for name in NAMES:
        frame = np.clip(scene + rng.normal(0, 400, scene.shape), 0, 65535)
        write_image(tmp_path / "pair" / name, frame.astype(np.uint16))
    return tmp_path / "pair"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_the_command_writes_its_tables_and_fails_if_a_pair_gets_worse(
    tmp_path: Path, averaging_onnx: Path, pair: Path
) -> None:
    write_image(tmp_path / "data" / "00000001_000.png", to_bytes(render_phantom(1, 512)))
    (tmp_path / "data" / "split.csv").write_text("file,split\n00000001_000.png,test\n")
    page = tmp_path / "page.md"
    page.write_text(replace_figures((REPOSITORY / "docs" / "benchmarks" / "detectors.md").read_text(), "old", COMMAND))
    done = command(
        *("--data", tmp_path / "data", "--sd", "8", "-n", "1", "--protocol", "canon_dr_chest"),
        *("--model", averaging_onnx, "--pair", pair, "--out", tmp_path / "out", "--page", page, "--untold"),
    )
    assert done.exit_code == 1, done.output
    report = json.loads((tmp_path / "out" / "detectors.json").read_text())
    tables = (tmp_path / "out" / "detectors.md").read_text()
    assert done.stdout.strip() == tables.strip()
    assert tables.strip() in page.read_text()
    psnrs = {score["method"]: score["psnr"] for score in report["scores"]}
    assert f"| {psnrs['window']:.2f} / " in tables
    assert psnrs["window"] > psnrs["noisy"] + 2
    assert psnrs[NLM_UNTOLD] == pytest.approx(psnrs[NLM], abs=1)
    assert "Told our estimate: " in tables
    (ratio,) = report["found"]["canon_dr_chest, 8"][SMOOTHED_FIRST]
    assert ratio == pytest.approx(1, abs=0.1)
    assert f"| {ratio:.2f} ({ratio:.2f} to {ratio:.2f}) |" in tables
    before, after = report["pair"]["window"]["plain part"]
    assert after > before + 5
    before, after = report["pair"]["window"]["line pairs"]
    assert after < before - 5
    said = " ".join(done.stderr.split())
    assert "worse than before denoising: " in said
    assert "window, line pairs" in said
    assert "window, plain part" not in said


def test_an_unchanged_frame_is_not_worse_and_keeps_its_contrast(pair: Path) -> None:
    report = DetectorReport("test", [], 0)
    assert second_exposure(report, pair, {"untouched": lambda image, told: image}) == []
    assert report.line_pairs["untouched"] == pytest.approx({"middle": 1, "upper": 1, "lower left": 1})


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--data", "none"], "no such directory"),
        (["--data", ".", "--split", "tests"], "unknown --split 'tests'; use train, val, test"),
        (["--data", ".", "--protocol", "pink"], "unknown protocol 'pink'; use white"),
        (["--data", ".", "--page", REPOSITORY / "README.md"], "the page has no lines"),
        (["--data", ".", "--page", "none.md"], "none.md: cannot be read"),
    ],
)
def test_wrong_input_is_reported_in_one_line(arguments: list[object], problem: str) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
