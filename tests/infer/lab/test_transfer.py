from __future__ import annotations

from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.lab.edge_spread import FREQUENCIES
from cxr_infer.lab.findings import Series
from cxr_infer.lab.marked import plan_for
from cxr_infer.lab.methods import NamedMethod
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.signals import EDGE_ANGLE
from cxr_infer.lab.transfer import sampling_of, study
from tests.infer.lab.bench import IDENTITY, Notebook, faint_eraser, gaussian, setting

FloatImage = NDArray[np.float32]


def values(series: Series) -> NDArray[np.float64]:
    return np.array([point.value for point in series.y])


def response(width: float) -> NDArray[np.float64]:
    """OpenCV's sampled Gaussian, applied to waves across the edge; narrow kernels are not Gaussian."""
    taps = cv2.getGaussianKernel(2 * round(4 * width) + 1, width, cv2.CV_64F).ravel()
    places = np.arange(len(taps)) - len(taps) // 2
    along = [np.exp(-2j * np.pi * np.outer(FREQUENCIES * part(EDGE_ANGLE), places)) for part in (np.cos, np.sin)]
    return np.abs((along[0] @ taps) * (along[1] @ taps))


@pytest.mark.parametrize("width", [0.7, 1.5, 2.5])
def test_the_transfer_of_a_gaussian_filter_is_its_mtf(width: float) -> None:
    work = Notebook()
    half, *findings = study(setting({}, gaussian(width)), work)
    assert [half.key, *(one.key for one in findings)] == ["transfer/half-edge", "transfer/edge-10", "transfer/edge-40"]
    assert work.asked == work.expected == len(work.done) == 2
    mtf = np.exp(-2 * (np.pi * width * FREQUENCIES) ** 2) if width > 1 else response(width)
    for series in (series for finding in findings for series in finding.series):
        assert series.x == tuple(FREQUENCIES)
        np.testing.assert_allclose(values(series), mtf, rtol=0.01, atol=5e-4)
    for series in half.series:
        assert series.x == (10, 40)
        assert values(series) == pytest.approx(np.sqrt(np.log(2) / 2) / (np.pi * width), rel=0.015)


@pytest.mark.parametrize("diameter", [20.0, 60.0])
@pytest.mark.parametrize("contrast", [30.0, -30.0])
def test_the_rim_of_a_disc_gives_the_same_transfer(diameter: float, contrast: float) -> None:
    discs = (Signal("disc", diameter / 4, contrast), Signal("disc", 2.0, 10.0), Signal("nodule", 9.0, 10.0))
    *_, found = study(
        setting({}, gaussian(1.2), signals=discs, spacing=0.25, contrasts=(30.0,), noises=("white",), draws=2),
        Notebook(),
    )
    assert found.key == f"transfer/disc-{diameter / 4:g}mm-{'dark-' if contrast < 0 else ''}30"
    mtf = np.exp(-2 * (np.pi * 1.2 * FREQUENCIES) ** 2)
    np.testing.assert_allclose(values(found.series[0]), mtf, atol=0.005)


def test_discs_too_small_for_a_straight_rim_are_refused() -> None:
    with pytest.raises(UsageError, match="too small for a transfer function; use 16 px"):
        sampling_of(Signal("disc", 10.0, 5.0), setting({}))


def test_the_identity_transfers_everything_exactly() -> None:
    half, *findings = study(setting({}, IDENTITY, doses=(50.0,)), Notebook())
    for series in half.series:
        assert [(point.value, point.low, point.high) for point in series.y] == [(0.5, 0.5, 0.5)] * 2
    for finding in findings:
        for series in finding.series:
            assert [(point.value, point.low, point.high) for point in series.y] == [(1, 1, 1)] * len(FREQUENCIES)


def test_frequencies_are_per_mm_if_the_spacing_is_known() -> None:
    half, finding, _ = study(setting({}, IDENTITY, spacing=0.2, noises=("white",)), Notebook())
    assert half.y.unit == finding.x.unit == "cycles/mm"
    assert half.series[0].y[0].value == pytest.approx(2.5)
    assert finding.series[0].x[-1] == pytest.approx(2.5)


def test_a_bilateral_filter_keeps_strong_edges_and_blurs_faint_ones() -> None:
    def bilateral(noisy: FloatImage, told: object) -> FloatImage:
        return np.asarray(cv2.bilateralFilter(noisy, 13, 20 / 255, 2.0), dtype=np.float32)

    method = NamedMethod("bilateral", bilateral)
    half, faint, strong = study(setting({}, method, noises=("white",), draws=8, contrasts=(4.0, 120.0)), Notebook())
    (points,) = (series.y for series in half.series)
    assert points[0].high < 0.6 * points[1].low
    assert (values(faint.series[0])[4:] < values(strong.series[0])[4:]).all()


def test_an_intermittently_erased_edge_has_a_wide_interval() -> None:
    _, faint, strong = study(
        setting({}, faint_eraser(12), noises=("white",), draws=8, contrasts=(26.0, 120.0)), Notebook()
    )
    at = int(np.searchsorted(FREQUENCIES, 0.2))
    assert abs(values(strong.series[0])[at] - 1) < 0.1
    width = {finding.key: finding.series[0].y[at].high - finding.series[0].y[at].low for finding in (faint, strong)}
    assert width["transfer/edge-26"] > 2 * width["transfer/edge-120"] > 0


def test_equal_protocols_give_equal_figures() -> None:
    first, again = (study(setting({}, gaussian(1.0), draws=2), Notebook()) for _ in range(2))
    assert [asdict(one) for one in first] == [asdict(one) for one in again]
    other = study(setting({}, gaussian(1.0), draws=2, seed=6), Notebook())
    assert [one.series for one in first] != [one.series for one in other]


def test_the_blur_of_the_detector_is_not_attributed_to_the_method() -> None:
    """The transfer of a method is relative to the edge that it is given, which the detector has blurred."""
    blurred = replace(setting({}, gaussian(1.5)), protocol=replace(setting({}).protocol, blur=1.0))
    _, found, _ = study(blurred, Notebook())
    mtf = np.exp(-2 * (np.pi * 1.5 * FREQUENCIES) ** 2)
    measurable = FREQUENCIES < 0.2  # cycles/px; beyond, the blur leaves too little of the edge
    np.testing.assert_allclose(values(found.series[0])[measurable], mtf[measurable], rtol=0.02, atol=2e-3)


def test_the_blur_of_the_detector_applies_to_drawn_signals() -> None:
    flat = np.full((192, 192), 0.5, np.float32)
    sharp, soft = (plan_for(flat, "flat", replace(setting({}).protocol, blur=blur)).marked(0) for blur in (0.0, 1.5))
    assert soft.max() < sharp.max()
    assert float((soft - flat).sum()) == pytest.approx(float((sharp - flat).sum()), rel=1e-3)
