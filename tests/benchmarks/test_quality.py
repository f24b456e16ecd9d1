from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.methods import NLM_ANSCOMBE
from benchmarks.quality import by_dose, choose_methods, glared_normal, other_noise
from cxr_infer.errors import UsageError
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import to_bytes
from cxr_train.comparison import compare, equivalent_dose
from tests.conftest import REPOSITORY


def quality(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.quality", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_peers_are_given_the_true_dose() -> None:
    clean = np.tile(np.linspace(0.1, 0.7, 256, dtype=np.float32), (256, 1))
    noisy = poisson_mottle(clean, 200.0, np.random.default_rng(0))
    assert equivalent_dose(clean, noisy) == pytest.approx(200, rel=0.05)


def test_noise_depends_only_on_the_file() -> None:
    images = {name: render_phantom(seed, 64) for seed, name in enumerate(("a.png", "b.png"))}
    keep = {"noisy": lambda noisy, white: noisy}
    both = {score.noise: score for score in compare(images, by_dose() | other_noise(), keep)}
    alone = [list(compare({name: image}, by_dose(), keep)) for name, image in images.items()]
    for first, second in zip(*alone, strict=True):
        assert both[first.noise].psnr == pytest.approx((first.psnr + second.psnr) / 2)
    assert both["20 photons"].psnr < both["71 photons"].psnr < both["200 photons"].psnr < both["600 photons"].psnr
    assert both["none"].mse < 1e-5


@pytest.mark.slow
def test_the_command_writes_tables_figures_and_a_plot(tmp_path: Path) -> None:
    for patient in range(3):
        write_image(tmp_path / "data" / f"{patient:08}_000.png", to_bytes(render_phantom(patient, 256)))
    rows = [f"{patient:08}_000.png,{split}" for patient, split in enumerate(("train", "val", "test"))]
    (tmp_path / "data" / "split.csv").write_text("\n".join(["file,split", *rows]))
    done = quality(
        "--data", tmp_path / "data", "-n", "1", "--out", tmp_path / "out", "--only", "noisy", "--only", NLM_ANSCOMBE
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "quality.json").read_text())
    psnr = {(score["noise"], score["method"]): score["psnr"] for score in report["by_dose"]}
    assert psnr["71 photons", "window"] > psnr["71 photons", "NLM on Anscombe"] > psnr["71 photons", "noisy"] + 8
    tables = (tmp_path / "out" / "quality.md").read_text()
    assert f"{psnr['71 photons', 'window']:.2f}" in tables
    assert "| window |" in tables
    svg = ElementTree.fromstring((tmp_path / "out" / "psnr-against-dose.svg").read_text())
    assert svg.tag.endswith("svg")
    assert done.stdout.startswith("1 test images")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--data", "none"], "no such directory"),
        (["--data", ".", "--split", "tests"], "unknown --split 'tests'; use train, val, test"),
        (["--data", "train", "--only", "magic"], "no images found"),
    ],
)
def test_wrong_input_is_reported_in_one_line(arguments: list[str], problem: str) -> None:
    done = quality(*arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UsageError, match="unknown --only 'magic'; use noisy, Gaussian"):
        choose_methods("window", ["magic"])
    assert list(choose_methods("window", ["Gaussian"])) == ["Gaussian", "window"]


def test_glare_keeps_the_variance_and_reaches_further_than_a_gaussian() -> None:
    noise = glared_normal((256, 256), np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, rel=0.05)
    near, far = (float(np.mean(noise[:, lag:] * noise[:, :-lag])) for lag in (1, 3))
    assert near == pytest.approx(0.59, abs=0.04)
    assert far == pytest.approx(0.12, abs=0.04), "a Gaussian with the same correlation at 1 px has 0.01"
