"""The comparison shared by `cxr-train evaluate` and the benchmarks, and how it reads a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.methods import classical
from benchmarks.quality import by_dose
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import to_bytes, to_unit
from cxr_train.comparison import NLM, NOISY, ImagesByName, compare, simple_methods
from cxr_train.data import XrayImages
from cxr_train.evaluate import noises


def test_command_and_benchmarks_agree_on_noises_and_methods() -> None:
    clean = {"a.png": render_phantom(1, 96)}
    ours = compare(clean, {"20 photons": noises()["20 photons"]}, simple_methods())
    theirs = compare(clean, {"20 photons": by_dose()["20 photons"]}, {n: classical()[n] for n in simple_methods()})
    assert list(ours) == list(theirs)


def test_non_local_means_gains_more_than_3_db() -> None:
    scores = list(compare({"a.png": render_phantom(1, 192)}, by_dose(), simple_methods()))
    psnr = {(score.noise, score.method): score.psnr for score in scores}
    for noise in by_dose():
        assert psnr[noise, NLM] > psnr[noise, NOISY] + 3


def test_published_noise_is_computed_from_8_bit_values() -> None:
    clean = render_phantom(1, 64)
    saturating, wrapping = (list(noises().values())[i].add for i in (0, 1))
    once, again = (saturating(clean, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(once, saturating(to_unit(to_bytes(clean)), np.random.default_rng(1)))
    assert abs(once - wrapping(clean, np.random.default_rng(1))).mean() < 0.02, "wrapped pixels are repaired"


def test_images_are_read_on_demand_and_equal_names_stay_apart(tmp_path: Path) -> None:
    paths = [tmp_path / folder / name for folder, name in (("x", "a.png"), ("y", "a.png"), ("y", "b.png"))]
    for gray, path in enumerate(paths):
        write_image(path, np.full((20, 20), 51 * gray, np.uint8))
    by_name = ImagesByName(XrayImages(paths))
    assert list(by_name) == [str(paths[0]), str(paths[1]), "b.png"]
    assert [image.mean() for image in by_name.values()] == pytest.approx([0, 0.2, 0.4])
    assert list(ImagesByName(XrayImages(paths), 1)) == ["a.png"], "an image outside the limit does not change the name"
    paths[0].unlink()
    assert len(ImagesByName(XrayImages(paths))) == 3
