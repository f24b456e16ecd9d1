"""Search and dose equivalence on ratings and curves whose answers are known."""

from __future__ import annotations

from math import erf, log

import numpy as np
import pytest

from cxr_infer.lab.contrast_detail import THRESHOLD, inverse_figure, threshold
from cxr_infer.lab.crossing import crossing, risen
from cxr_infer.lab.dose_equivalence import equivalence, equivalent_dose
from cxr_infer.lab.jackknife import groups_of, jackknife, mean_estimate, share_kept
from cxr_infer.lab.observed import ObservedScene, Scene
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.search import binomial, choices, found_more, percent_correct

PLACES, CHANNELS, DRAWS = 5, 3, 400
DOSES = np.array([50.0, 200.0, 800.0])


def seen(d_prime: float, shifts: int = 1) -> ObservedScene:
    """Outputs that are white noise, with a signal in the first channel at the middle shift."""
    image = np.full((64, 64), 0.5, np.float32)
    scene = Scene((image,), ("flat",), np.zeros((1, PLACES, 2), np.intp), 33, (Signal("disc", 5, 8),), DRAWS)
    rng = np.random.default_rng(1)
    absent, present = rng.standard_normal((2, DRAWS, PLACES, shifts, CHANNELS)).astype(np.float32)
    present[:, :, shifts // 2, 0] += d_prime
    backgrounds = 30 * rng.standard_normal((PLACES, shifts, CHANNELS)).astype(np.float32)
    return ObservedScene(scene, absent + backgrounds, present + backgrounds)


def right_in_theory(d_prime: float, places: int) -> float:
    """Percent correct in a forced choice of independent places: the integral of phi(x - d') Phi(x)^(M - 1)."""
    x = np.linspace(-8, 12, 4001)
    below = np.array([0.5 * (1 + erf(value / np.sqrt(2))) for value in x])
    return float(100 * (np.exp(-((x - d_prime) ** 2) / 2) / np.sqrt(2 * np.pi) * below ** (places - 1)).sum() * 0.005)


@pytest.mark.parametrize("d_prime", [1.0, 2.0, 3.0])
def test_percent_correct_matches_theory(d_prime: float) -> None:
    found = percent_correct(choices(seen(d_prime), 0))
    expected = right_in_theory(d_prime, PLACES)
    assert found.low < expected < found.high
    assert found.value == pytest.approx(expected, abs=3)


def test_search_without_a_signal_is_a_guess_and_shifts_add_false_alarms() -> None:
    guess = percent_correct(choices(seen(0.0), 0))
    assert guess.low < 100 / PLACES < guess.high
    alone, around = (choices(seen(2.0, shifts), 0) for shifts in (1, 9))
    assert percent_correct(around).high < percent_correct(alone).low
    change = found_more(alone, around)
    assert change.high < 0
    assert change.value == pytest.approx(percent_correct(around).value - percent_correct(alone).value, abs=1e-9)
    same = found_more(alone, alone)
    assert (same.value, same.low) == (0, -same.high)
    assert 0 < same.high < 1


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0.0, 0.3085), (5, 0.1871, 0.8129), (10, 0.6915, 1.0)])
def test_intervals_of_shares_are_exact(right: int, low: float, high: float) -> None:
    """Clopper-Pearson intervals of ten trials, as in tables."""
    found = binomial(right, 10)
    assert (found.value, found.low, found.high) == pytest.approx((right / 10, low, high), abs=1e-4)


def test_equivalent_dose_of_quantum_noise_is_exact_between_doses() -> None:
    before = np.sqrt(DOSES)  # d' goes with the square root of the dose
    assert equivalent_dose(DOSES, before, np.sqrt(100.0)) == pytest.approx(100)
    assert equivalent_dose(DOSES, before, np.sqrt(800.0)) == pytest.approx(800)


def test_falling_values_are_averaged_to_a_rising_curve() -> None:
    np.testing.assert_allclose(risen(np.array([1.0, 3.0, 2.0, 2.5, 4.0])), [1, 2.5, 2.5, 2.5, 4])
    places = np.arange(5.0)
    assert crossing(places, np.array([1.0, 3.0, 2.0, 2.5, 4.0]), 2.5) == 2
    assert crossing(places, np.array([1.0, 3.0, 2.0, 2.5, 4.0]), 3.25) == 3.5
    assert crossing(places, np.array([5.0, 4.0, 3.0, 2.0, 1.0]), 4.5) is None
    assert crossing(places, places, 0.0) == 0
    assert crossing(places, places, 4.0) == 4


@pytest.mark.parametrize("d_prime", [0.1, 7.0, 28.4, 100.0])
def test_equivalent_doses_are_never_extrapolated(d_prime: float) -> None:
    found = equivalence(DOSES, np.sqrt(DOSES), d_prime, [(np.sqrt(DOSES), d_prime)] * 10, 200.0)
    assert found.ratio is None or 50 <= found.ratio.value * 200 <= 800
    assert (found.ratio is None) == (not np.sqrt(50) <= d_prime <= np.sqrt(800))


def test_an_interval_beyond_the_doses_is_cut_there_and_marked_open() -> None:
    rng = np.random.default_rng(2)
    for centre, open_end in ((100.0, False), (790.0, True)):
        pairs = [(np.sqrt(DOSES), float(np.sqrt(centre) * (1 + 0.01 * rng.standard_normal()))) for _ in range(10)]
        found = equivalence(DOSES, np.sqrt(DOSES), np.sqrt(centre), pairs, 200.0)
        assert found.ratio is not None
        assert found.ratio.value == pytest.approx(centre / 200)
        assert 50 / 200 <= found.ratio.low < found.ratio.value < found.ratio.high <= 800 / 200
        assert found.open_end == open_end


def test_threshold_contrasts_lie_between_measured_ones() -> None:
    contrasts = np.array([2.0, 4.0, 8.0])
    noise = np.random.default_rng(3).normal(1, 0.005, 10)
    found = threshold(contrasts, contrasts * 0.4, [contrasts * 0.4 * factor for factor in noise])
    assert found.contrast is not None
    assert found.contrast.value == pytest.approx(THRESHOLD / 0.4)
    assert 4 < found.contrast.low < 5 < found.contrast.high < 6.5
    too_faint, too_strong = (threshold(contrasts, contrasts * slope, []) for slope in (0.1, 3.0))
    assert (too_faint.contrast, too_faint.above) == (None, True)
    assert (too_strong.contrast, too_strong.above) == (None, False)
    figure = inverse_figure([1.0, 3.0], [found, found])
    assert figure is not None
    assert figure.value == pytest.approx(100 / (5 + 15))
    assert figure.low < figure.value < figure.high
    assert inverse_figure([1.0, 3.0], [found, too_faint]) is None


def test_jackknife_intervals_contain_the_truth_as_often_as_stated() -> None:
    rng = np.random.default_rng(4)
    inside = {"log mean": 0, "mean": 0, "ratio": 0}
    repeats, draws = 300, 60
    for _ in range(repeats):
        values = rng.exponential(2.0, draws)
        group = groups_of(draws)
        left_out = np.array([values[group != each].mean() for each in range(group[-1] + 1)])
        logs = jackknife(log(values.mean()), np.log(left_out))
        inside["log mean"] += logs.low <= log(2.0) <= logs.high
        mean = mean_estimate(values)
        inside["mean"] += mean.low <= 2.0 <= mean.high
        under = rng.uniform(1, 2, draws)
        kept = share_kept(np.stack([0.7 * under + 0.1 * rng.standard_normal(draws), under]))
        inside["ratio"] += kept.low <= 0.7 <= kept.high
    assert all(0.90 <= count / repeats <= 0.99 for count in inside.values()), inside
