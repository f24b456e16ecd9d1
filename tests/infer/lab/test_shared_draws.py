from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.lab import brightness, lines
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.line_response import count_lines, line_response
from cxr_infer.lab.lines import or_poisson
from cxr_infer.lab.methods import NamedMethod
from cxr_infer.lab.studies import STUDIES
from tests.infer.lab.bench import IDENTITY, Notebook, gaussian, setting
from tests.infer.lab.test_line_response import CONTRAST, with_line

FloatImage = NDArray[np.float32]
ERASE_ALL = NamedMethod("erase", lambda noisy, told: np.full_like(noisy, 0.5))
SHIFT = NamedMethod("shift", lambda noisy, told: np.asarray(noisy + 3 * noisy / 255, dtype=np.float32))


@pytest.fixture(scope="module")
def phantoms() -> dict[str, FloatImage]:
    return {str(seed): np.asarray(render_phantom(seed, 192) * 0.6 + 0.2, dtype=np.float32) for seed in (2, 3)}


def test_erasing_everything_loses_every_line_and_the_identity_none(phantoms: dict[str, FloatImage]) -> None:
    work = Notebook()
    lost, false = lines.study(setting(phantoms, IDENTITY, ERASE_ALL, doses=(1e7,)), work)
    assert work.asked == work.expected == len(work.done) == 2 * 2 * 2
    present = [count_lines(line_response(image), line_response(image))[0] for image in phantoms.values()]
    megapixels = sum(image.size for image in phantoms.values()) / 1e6
    assert sum(present) > 10
    for series in lost.series:
        assert series.y[0].value == pytest.approx(sum(present) / megapixels if series.method == "erase" else 0)
    assert [point.value for series in false.series for point in series.y] == [0] * 4
    assert (lost.higher_is_better, false.higher_is_better) == (False, False)


def test_a_line_drawn_by_a_method_is_counted_once_per_image() -> None:
    flat = {name: np.full((128, 128), 0.4, np.float32) for name in ("a", "b", "c")}
    draws_one = NamedMethod("artist", lambda noisy, told: with_line(flat["a"], 1.0, 3 * CONTRAST))
    lost, false = lines.study(setting(flat, draws_one, noises=("white",), doses=(50.0, 500.0)), Notebook())
    assert false.series[0].x == (50.0, 500.0)
    for point in false.series[0].y:
        assert (point.value, point.low, point.high) == pytest.approx([1e6 / 128**2] * 3)
    assert [point.value for point in lost.series[0].y] == [0, 0]


def test_noise_contains_false_lines_and_a_blur_removes_them(phantoms: dict[str, FloatImage]) -> None:
    _, false = lines.study(setting(phantoms, IDENTITY, gaussian(2.0), doses=(20.0,), noises=("white",)), Notebook())
    noisy, blurred = (series.y[0] for series in false.series)
    assert noisy.low > 2 * blurred.high


def test_a_shift_of_brightness_is_found_in_every_band() -> None:
    ramp = {"ramp": np.tile(np.linspace(0.05, 0.9, 256, dtype=np.float32), (64, 1))}
    (finding,) = brightness.study(setting(ramp, IDENTITY, SHIFT, noises=("white",), draws=6), Notebook())
    identity, shifted = finding.series
    assert len(identity.x) == 8
    assert identity.x[0] == 16
    for x, kept, point in zip(identity.x, identity.y, shifted.y, strict=True):
        assert kept.value == pytest.approx(0, abs=0.15)
        inside = ramp["ramp"][(ramp["ramp"] * 255 >= x - 16) & (ramp["ramp"] * 255 < x + 16)]
        assert point.value == pytest.approx(3 * inside.mean(), abs=0.2)
        assert kept.high < point.low <= point.value <= point.high


def test_white_pixels_form_a_band_that_saturation_darkens() -> None:
    white = {"white": np.ones((64, 64), np.float32)}
    (finding,) = brightness.study(setting(white, IDENTITY, doses=(100.0,), noises=("white",)), Notebook())
    assert finding.series[0].x == (255.0,)
    assert finding.series[0].y[0].value == pytest.approx(-255 * 0.1 / np.sqrt(2 * np.pi), rel=0.06)


def test_the_first_requested_study_measures_for_all(phantoms: dict[str, FloatImage]) -> None:
    every = ("brightness", "lines", "contrast-kept")
    chosen = setting(phantoms, gaussian(1.0), draws=2, studies=every)
    work = Notebook()
    together = [finding for name in every for finding in STUDIES[name](chosen, work)]
    assert [finding.study for finding in together] == ["contrast-kept", "lines", "lines", "brightness"]
    assert work.asked == work.expected == 2 * 2
    alone = setting(phantoms, gaussian(1.0), draws=2)
    apart = [finding for name in reversed(every) for finding in STUDIES[name](alone, Notebook())]
    assert [asdict(finding) for finding in apart] == [asdict(finding) for finding in together]


def test_zero_lines_have_an_exact_interval() -> None:
    """The exact interval of 0 in 8 images of 96 x 96 px; if there are lines, the draws determine it."""
    flat = {"a": np.full((96, 96), 0.4, np.float32)}
    chosen = setting(flat, IDENTITY, draws=8, doses=(1e6,), noises=("white",), studies=("lines",))
    for finding in STUDIES["lines"](chosen, Notebook()):
        (point,) = finding.series[0].y
        assert (point.value, point.low) == (0, 0)
        assert np.exp(-point.high * 8 * 96**2 / 1e6) == pytest.approx(0.025)
    found = Estimate(2.0, 1.0, 3.0)
    assert or_poisson(found, np.array([[1.0, 0.5], [0.0, 0.5]])) == found


def test_fewer_draws_of_a_method_are_recorded() -> None:
    flat = {"a": np.full((96, 96), 0.4, np.float32)}
    every = ("contrast-kept", "lines", "brightness")
    blur = gaussian(1.0)
    fewer = {blur.name: 3}
    chosen = setting(flat, IDENTITY, blur, draws=10, noises=("white",), studies=every, fewer_draws=fewer)
    work = Notebook()
    for name in every:
        for finding in STUDIES[name](chosen, work):
            assert finding.draws == (8 if finding.study == "lines" else 10)
            assert [series.draws for series in finding.series] == [None, 3]
            assert finding.draws_of(finding.series[1]) == 3
    assert sorted(len(arrays["kept"]) for arrays in work.done.values()) == [3, 10]


def test_lines_are_sought_in_the_first_draws_only() -> None:
    flat = {"a": np.full((96, 96), 0.4, np.float32)}
    work = Notebook()
    chosen = setting(flat, IDENTITY, draws=12, noises=("white",), studies=("lines", "brightness"))
    lost, _ = STUDIES["lines"](chosen, work)[:2]
    assert lost.draws == 8
    (arrays,) = work.done.values()
    assert arrays["lines"].shape == (8, 3)
    assert arrays["brightness"].shape == (12, 9, 2)
