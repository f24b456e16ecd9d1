from __future__ import annotations

import numpy as np
import pytest

from cxr_infer.lab.statistics import bootstrap, estimate, estimates, ratio_of_sums


@pytest.mark.parametrize("repeats", [10, 40])
def test_intervals_contain_the_truth_as_often_as_stated(repeats: int) -> None:
    rng = np.random.default_rng(0)
    held = []
    for seed in range(200):
        found = estimate(rng.normal(3.0, 2.0, repeats), seed=seed, resamples=300)
        assert found.low <= found.value <= found.high
        held.append(found.low <= 3.0 <= found.high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_the_interval_of_a_mean_matches_its_formula() -> None:
    values = np.random.default_rng(1).normal(0, 1, 400)
    found = estimate(values, seed=3, resamples=4000)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.07)


def test_few_places_are_uncertain_however_many_the_draws() -> None:
    rng = np.random.default_rng(2)
    by_place = rng.normal(0, 1, (1, 6)) + rng.normal(0, 0.01, (500, 6))
    draws_only = estimate(by_place, seed=0)
    both = estimate(by_place, seed=0, axes=(0, 1))
    assert both.high - both.low > 50 * (draws_only.high - draws_only.low)


def test_equal_values_are_certain_and_equal_seeds_give_equal_intervals() -> None:
    certain = estimate(np.ones((5, 4)), seed=0, axes=(0, 1))
    assert (certain.value, certain.low, certain.high) == (1, 1, 1)
    values = np.random.default_rng(0).normal(size=(20, 3))
    first, again = (estimates(values, lambda v: v.mean(axis=0), seed=5) for _ in range(2))
    assert first == again
    assert len(first) == 3
    assert first != estimates(values, lambda v: v.mean(axis=0), seed=6)


def test_a_ratio_without_a_denominator_has_no_value() -> None:
    assert ratio_of_sums(np.array([[1.0, 2.0], [2.0, 4.0]])) == pytest.approx(0.5)
    value, low, high = bootstrap(np.zeros((4, 2)), ratio_of_sums, 0, resamples=20)
    assert np.isnan([value, low, high]).all()
