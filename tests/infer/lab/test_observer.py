"""The observer compared with theory, on known noise and signals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import DataError
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.jackknife import groups_of, jackknife
from cxr_infer.lab.noise import find_detector, noise_field, spectrum_at
from cxr_infer.lab.observer import (
    Ratings,
    analytic_d_prime,
    area_under_curve,
    detectability,
    difference_of_gaussians,
    gabor,
    ideal_d_prime,
    median_d_prime,
    moments,
    with_internal_noise,
)
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.signals import LINE_ANGLE, draw

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]
SIDE, SD, WINDOWS = 33, 10.0, 12_000


def disc(radius: float, contrast: float) -> Array:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    return np.where(np.hypot(x, y) <= radius, contrast, 0.0)


@pytest.fixture(scope="module")
def noise() -> tuple[Pixels, Pixels]:
    """White noise of SD in the windows of both classes."""
    rng = np.random.default_rng(1)
    return tuple(SD * rng.standard_normal((WINDOWS, SIDE * SIDE), dtype=np.float32) for _ in range(2))


def seen(channels: Array, signal: Array, noise: tuple[Pixels, Pixels]) -> tuple[Ratings, Ratings]:
    """Channel outputs with and without the signal."""
    present, absent = ((each @ channels.T.astype(np.float32)).astype(np.float64) for each in noise)
    return Ratings.of(present + channels @ signal.ravel()), Ratings.of(absent)


@pytest.mark.parametrize(("kind", "share"), [(difference_of_gaussians, 0.93), (gabor, 0.70)])
def test_d_prime_in_white_noise_matches_theory(
    kind: Callable[[int], Array], share: float, noise: tuple[Pixels, Pixels]
) -> None:
    channels, signal = kind(SIDE), disc(3.5, 5.0)
    found = detectability(*seen(channels, signal, noise))
    expected = analytic_d_prime(signal, channels, SD)
    assert found.value == pytest.approx(expected, rel=0.02)
    assert found.low < expected < found.high
    assert share < expected / ideal_d_prime(signal, SD) < 1


def test_d_prime_of_a_line_in_a_known_direction_matches_theory(noise: tuple[Pixels, Pixels]) -> None:
    middle = (SIDE // 2, SIDE // 2)
    line = draw(Signal("line", 2.0, 3.0), (SIDE, SIDE), middle).astype(np.float64) * 255
    channels = gabor(SIDE, LINE_ANGLE)
    expected = analytic_d_prime(line, channels, SD)
    found = detectability(*seen(channels, line, noise))
    assert found.value == pytest.approx(expected, rel=0.02)
    assert found.low < expected < found.high
    for others in (gabor(SIDE), gabor(SIDE, LINE_ANGLE + np.pi / 10), difference_of_gaussians(SIDE)):
        assert analytic_d_prime(line, others, SD) < 0.97 * expected


def test_internal_noise_adds_to_that_of_the_image(noise: tuple[Pixels, Pixels]) -> None:
    channels, signal = difference_of_gaussians(SIDE), disc(3.5, 6.0)
    rng = np.random.default_rng(3)
    ratings = [with_internal_noise(each, channels, 7.5, rng) for each in seen(channels, signal, noise)]
    expected = analytic_d_prime(signal, channels, float(np.hypot(SD, 7.5)))
    assert detectability(*ratings).value == pytest.approx(expected, rel=0.02)


def test_d_prime_in_detector_noise_matches_theory() -> None:
    channels, signal = difference_of_gaussians(SIDE), disc(3.5, 12.0)
    spectrum = spectrum_at(find_detector("canon_dr_chest").spectrum, (SIDE, SIDE))
    rng = np.random.default_rng(4)
    present, absent = (
        Ratings.of(np.array([channels @ (SD * noise_field(spectrum, rng) + each).ravel() for _ in range(2500)]))
        for each in (signal, 0 * signal)
    )
    expected = analytic_d_prime(signal, channels, SD, spectrum)
    assert expected < 0.8 * analytic_d_prime(signal, channels, SD)
    assert detectability(present, absent).value == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("d_prime", [0.0, 1.0, 3.0])
def test_d_prime_of_few_windows_is_unbiased_with_an_honest_interval(d_prime: float) -> None:
    channels, repeats, windows = 8, 300, 20
    rng = np.random.default_rng(5)
    signal = np.zeros(channels)
    signal[2] = d_prime
    values, plain, inside = [], [], 0
    for _ in range(repeats):
        present = Ratings.of(rng.standard_normal((windows, channels)) + signal)
        absent = Ratings.of(rng.standard_normal((windows, channels)))
        found = detectability(present, absent)
        values.append(found.value)
        plain.append(moments(present, absent).squared ** 0.5)
        inside += found.low <= d_prime <= found.high
    assert np.median(values) == pytest.approx(d_prime, abs=0.12)
    assert np.median(plain) > d_prime + 0.3
    assert 0.92 <= inside / repeats <= 0.99


def test_the_interval_contains_d_prime_and_narrows_with_more_windows() -> None:
    rng = np.random.default_rng(6)
    widths = []
    for windows in (30, 300):
        found = detectability(
            Ratings.of(rng.standard_normal((windows, 5)) + 1), Ratings.of(rng.standard_normal((windows, 5)))
        )
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


def test_known_backgrounds_of_places_do_not_affect_d_prime() -> None:
    rng = np.random.default_rng(7)
    places = np.arange(120) % 4
    outputs = [rng.standard_normal((120, 5)), rng.standard_normal((120, 5)) + 0.8]
    backgrounds = 50 * rng.standard_normal((4, 5))
    plain, moved = (
        median_d_prime(*(Ratings(each + shift, places) for each in reversed(outputs)))
        for shift in (0.0, backgrounds[places])
    )
    assert moved == pytest.approx(plain, rel=1e-6)


def test_channels_ignore_brightness_and_fit_their_window() -> None:
    for kind in (difference_of_gaussians, gabor):
        for side in (33, 65):
            channels = kind(side)
            np.testing.assert_allclose(channels.sum(axis=1), 0, atol=1e-9)
            np.testing.assert_allclose(np.linalg.norm(channels, axis=1), 1)
            assert np.linalg.matrix_rank(channels) == len(channels)
        assert len(kind(65)) > len(kind(33))


def test_area_under_the_curve_matches_its_formula() -> None:
    found = area_under_curve(Estimate(np.sqrt(2.0), 0.0, 20.0))
    assert found.value == pytest.approx(0.8413447, abs=1e-6)
    assert (found.low, found.high) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [(np.random.default_rng(0).standard_normal((4, 5)), "too few"), (np.zeros((50, 5)), "does not vary")],
)
def test_outputs_that_no_observer_can_be_trained_on_are_refused(outputs: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        detectability(Ratings.of(outputs), Ratings.of(outputs))


@pytest.mark.slow
def test_the_ratio_of_d_primes_of_shared_draws_has_an_honest_interval() -> None:
    """Noise added to every channel lowers d' by a known factor; the draws are shared, few, and in groups."""
    repeats, draws, places, channels, added = 150, 16, 8, 9, 0.5
    rng = np.random.default_rng(8)
    group, place = groups_of(draws), np.broadcast_to(np.arange(places), (draws, places))
    signal = np.zeros(channels)
    signal[0] = 3.0
    true = 1 / np.hypot(1, added)

    def d_prime(outputs: Array, kept: NDArray[np.bool_]) -> float:
        present, absent = (Ratings(each[kept].reshape(-1, channels), place[kept].ravel()) for each in outputs)
        return median_d_prime(present, absent)

    inside, ratios = 0, []
    for _ in range(repeats):
        before = rng.standard_normal((2, draws, places, channels))
        before[0] += signal
        after = before + added * rng.standard_normal(before.shape)
        everything = d_prime(after, group >= 0) / d_prime(before, group >= 0)
        left_out = [d_prime(after, group != one) / d_prime(before, group != one) for one in range(group[-1] + 1)]
        found = jackknife(everything, np.array(left_out))
        inside += found.low <= true <= found.high
        ratios.append(everything)
    assert np.median(ratios) == pytest.approx(true, rel=0.02)
    assert 0.90 <= inside / repeats <= 0.99
