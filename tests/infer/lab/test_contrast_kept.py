from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.lab.contrast_kept import study
from cxr_infer.lab.marked import choices, plan_for
from cxr_infer.lab.methods import NamedMethod
from cxr_infer.lab.protocol import SIGNAL_KINDS, Signal
from cxr_infer.lab.signals import draw
from tests.infer.lab.bench import IDENTITY, Notebook, faint_eraser, gaussian, setting

FloatImage = NDArray[np.float32]
SIGNALS = tuple(Signal(kind, 8.0, -20.0 if kind in ("marker", "dark-line") else 20.0) for kind in SIGNAL_KINDS)


@pytest.fixture(scope="module")
def phantom() -> dict[str, FloatImage]:
    return {"phantom": render_phantom(2, 192)}


@pytest.fixture(scope="module")
def flat() -> dict[str, FloatImage]:
    return {name: np.full((160, 160), brightness, np.float32) for name, brightness in (("a", 0.4), ("b", 0.6))}


def test_the_identity_keeps_all_contrast_exactly(phantom: dict[str, FloatImage]) -> None:
    work = Notebook()
    findings = study(setting(phantom, IDENTITY, signals=SIGNALS, doses=(20.0, 200.0), draws=12), work)
    assert [finding.key for finding in findings] == [
        "contrast-kept/disc-8px",
        "contrast-kept/nodule-8px",
        "contrast-kept/line-8px",
        "contrast-kept/dark-line-8px",
        "contrast-kept/lattice-8px",
        "contrast-kept/marker-8px-dark",
    ]
    assert work.expected == work.asked == len(work.done) == 4
    for series in (series for finding in findings for series in finding.series):
        assert series.x == (10.0, 40.0)
        assert [(point.value, point.low, point.high) for point in series.y] == [(1, 1, 1)] * 2


@pytest.mark.parametrize("signal", [one for one in SIGNALS if one.kind in ("disc", "nodule", "line", "lattice")])
def test_a_linear_filter_keeps_the_contrast_of_its_formula(flat: dict[str, FloatImage], signal: Signal) -> None:
    drawn = draw(signal, (161, 161), (80, 80)).astype(np.float64)
    kept = float((cv2.GaussianBlur(drawn, (0, 0), 1.5) * drawn).sum() / (drawn**2).sum())
    (finding,) = study(setting(flat, gaussian(1.5), signals=(signal,)), Notebook())
    assert kept < 0.99
    for series in finding.series:
        assert [point.value for point in series.y] == pytest.approx([kept, kept], abs=1e-3)


def test_erased_faint_signals_are_detected(flat: dict[str, FloatImage]) -> None:
    (finding,) = study(setting(flat, faint_eraser(20), doses=(1e5,), signals=(Signal("disc", 12.0, 20.0),)), Notebook())
    for series in finding.series:
        faint, strong = series.y
        assert faint.value < 0.02
        assert strong.value == pytest.approx(1, abs=0.03)


def test_the_interval_is_wider_if_noise_decides_the_result(flat: dict[str, FloatImage]) -> None:
    def gate(noisy: FloatImage, told: object) -> FloatImage:
        return np.asarray(np.where(noisy > 0.7, noisy, 0.5), dtype=np.float32)

    one = {"b": flat["b"]}
    (finding,) = study(setting(one, NamedMethod("gate", gate), doses=(20.0, 1e6), noises=("white",)), Notebook())
    widths = [max(point.high - point.low for point in series.y) for series in finding.series]
    assert widths[0] > 0.02 > widths[1]
    assert [series.condition for series in finding.series] == ["20 photons, white", "1e+06 photons, white"]
    assert {series.method for series in finding.series} == {"gate"}


def test_every_place_shows_every_signal_equally_often(phantom: dict[str, FloatImage]) -> None:
    protocol = setting(phantom, IDENTITY, signals=SIGNALS, draws=24).protocol
    plan = plan_for(phantom["phantom"], "phantom", protocol)
    assert len(plan.signals) == len(choices(protocol)) == 6 * 2
    assert len(plan.centres) >= 3
    for column in plan.order.T:
        np.testing.assert_array_equal(np.bincount(column), 2)
    marked = plan.marked(0)
    inside = np.zeros(marked.shape, bool)
    for square in plan.squares():
        assert not inside[square].any(), "squares do not overlap"
        inside[square] = True
    np.testing.assert_array_equal(marked[~inside], plan.clean[~inside])
    for index, square in zip(plan.order[0], plan.squares(), strict=True):
        difference = marked[square] - plan.clean[square]
        assert 255 * np.abs(difference).max() == pytest.approx(abs(plan.signals[index].contrast), rel=0.05)


def test_an_image_without_a_place_is_named_before_any_measurement(flat: dict[str, FloatImage]) -> None:
    work = Notebook()
    images = {**flat, "black": np.zeros((160, 160), np.float32)}
    with pytest.raises(UsageError, match=r"image black: signal 'nodule.*': no place for it .*; omit it, or use"):
        study(setting(images, IDENTITY), work)
    assert not work.done
    (finding,) = study(setting(flat, IDENTITY, signals=(Signal("nodule", 9.0, 9.0), Signal("edge", 1.0, 9.0))), work)
    assert finding.key == "contrast-kept/nodule-9px"
    assert study(setting(images, IDENTITY, signals=(Signal("edge", 1.0, 9.0),)), Notebook()) == []


def test_contrasts_without_a_draw_are_left_out(flat: dict[str, FloatImage]) -> None:
    one = {"a": flat["a"]}
    contrasts = tuple(float(contrast) for contrast in range(2, 40))
    (finding,) = study(setting(one, gaussian(1.0), contrasts=contrasts, draws=1, noises=("white",)), Notebook())
    (series,) = finding.series
    assert 0 < len(series.x) < len(contrasts)
    assert len(series.x) == len(series.y)
    assert np.isfinite([(point.low, point.value, point.high) for point in series.y]).all()
