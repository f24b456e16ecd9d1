from __future__ import annotations

from dataclasses import asdict

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.lab.findings import Series
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.signals import EDGE_ANGLE
from cxr_infer.lab.transfer import FREQUENCIES, sampling_of, study
from tests.infer.lab.bench import IDENTITY, Notebook, faint_eraser, gaussian, setting


def values(series: Series) -> NDArray[np.float64]:
    return np.array([point.value for point in series.y])


def response(width: float) -> NDArray[np.float64]:
    """Of OpenCV's sampled Gaussian to waves that run across the edge, which for narrow ones is no Gaussian."""
    taps = cv2.getGaussianKernel(2 * round(4 * width) + 1, width, cv2.CV_64F).ravel()
    places = np.arange(len(taps)) - len(taps) // 2
    along = [np.exp(-2j * np.pi * np.outer(FREQUENCIES * part(EDGE_ANGLE), places)) for part in (np.cos, np.sin)]
    return np.abs((along[0] @ taps) * (along[1] @ taps))


@pytest.mark.parametrize("width", [0.7, 1.5, 2.5])
def test_the_transfer_of_a_gaussian_filter_is_its_mtf(width: float) -> None:
    work = Notebook()
    findings = study(setting({}, gaussian(width)), work)
    assert [one.key for one in findings] == ["transfer/edge-10", "transfer/edge-40"]
    assert work.asked == work.expected == len(work.done) == 2
    mtf = np.exp(-2 * (np.pi * width * FREQUENCIES) ** 2) if width > 1 else response(width)
    for series in (series for finding in findings for series in finding.series):
        assert series.x == tuple(FREQUENCIES)
        np.testing.assert_allclose(values(series), mtf, rtol=0.01, atol=5e-4)


@pytest.mark.parametrize("diameter", [20.0, 60.0])
@pytest.mark.parametrize("contrast", [30.0, -30.0])
def test_the_rim_of_a_disc_transfers_the_same(diameter: float, contrast: float) -> None:
    discs = (Signal("disc", diameter / 4, contrast), Signal("disc", 2.0, 10.0), Signal("nodule", 9.0, 10.0))
    _, *found = study(
        setting({}, gaussian(1.2), signals=discs, spacing=0.25, contrasts=(30.0,), noises=("white",), draws=2),
        Notebook(),
    )
    assert [one.key for one in found] == [f"transfer/disc-{diameter / 4:g}mm-{'dark-' if contrast < 0 else ''}30"]
    mtf = np.exp(-2 * (np.pi * 1.2 * FREQUENCIES) ** 2)
    np.testing.assert_allclose(values(found[0].series[0]), mtf, atol=0.005)


def test_small_discs_have_no_straight_rim() -> None:
    with pytest.raises(UsageError, match="too small for a transfer function; use 16 px"):
        sampling_of(Signal("disc", 10.0, 5.0), setting({}))


def test_the_identity_transfers_everything_exactly() -> None:
    for finding in study(setting({}, IDENTITY, doses=(50.0,)), Notebook()):
        for series in finding.series:
            assert [(point.value, point.low, point.high) for point in series.y] == [(1, 1, 1)] * len(FREQUENCIES)


def test_frequencies_are_in_mm_where_the_spacing_is_known() -> None:
    finding, _ = study(setting({}, IDENTITY, spacing=0.2, noises=("white",)), Notebook())
    assert finding.x.unit == "cycles/mm"
    assert finding.series[0].x[-1] == pytest.approx(2.5)


def test_a_nonlinear_method_transfers_strong_edges_better_than_faint_ones() -> None:
    """Half of the faint edge is below what the method erases; what is left of it is uncertain, and says so."""
    faint, strong = study(
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
