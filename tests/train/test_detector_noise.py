from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from cxr_infer.imaging.phantom import render_phantom
from cxr_train.detector_noise import CELL, KNOTS, LEAST_SD, MOST_SD, Recipe, draw_curve, draw_field, level_of, shape_of

SIDE = 192


def plain(sd: float, field: np.ndarray, **changes: float) -> Recipe:
    """Noise of `sd` gray levels at every brightness."""
    return replace(Recipe(sd / 255, np.ones(KNOTS), field), **changes)


def white(side: int = SIDE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((side, side), dtype=np.float32)


def test_a_recipe_depends_only_on_its_seed() -> None:
    clean = render_phantom(0, SIDE)
    first, again, other = (Recipe.draw(SIDE, np.random.default_rng(seed)).expose(clean) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.noisy, again.noisy)
    assert (first.noisy != other.noisy).any()


@pytest.mark.parametrize("seed", range(30))
def test_noise_has_the_stated_level(seed: int) -> None:
    """Noise of every kind, divided by its stated level, has variance 1."""
    clean = np.full((SIDE, SIDE), 0.5, np.float32)
    recipe = replace(Recipe.draw(SIDE, np.random.default_rng(seed)), sd=6 / 255)
    exposed = recipe.expose(clean)
    assert exposed.level.shape == (SIDE // CELL, SIDE // CELL)
    level = cv2.resize(exposed.level, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    in_levels = (np.sqrt(exposed.noisy) - np.sqrt(exposed.clean)) / level
    assert np.sqrt(np.mean(in_levels**2)) == pytest.approx(1, rel=0.1)


def test_noise_follows_its_curve() -> None:
    clean = np.repeat(np.array([[0.2, 0.4, 0.6, 0.8]], np.float32), SIDE // 4, axis=1).repeat(SIDE, axis=0)
    curve = np.linspace(0.5, 2.0, KNOTS)
    exposed = Recipe(5 / 255, curve, white()).expose(clean)
    noise = exposed.noisy - exposed.clean
    found = np.array([noise[clean == value].std() for value in (0.2, 0.4, 0.6, 0.8)])
    asked = np.interp((0.2, 0.4, 0.6, 0.8), np.linspace(0, 1, KNOTS), curve)
    np.testing.assert_allclose(found / found.mean(), asked / asked.mean(), rtol=0.05)
    assert noise.std() == pytest.approx(5 / 255, rel=0.02)


@pytest.mark.parametrize(("changes", "sign"), [({}, 0), ({"sharpening": 1.5, "radius": 2.0}, -1), ({"factor": 4.0}, 1)])
def test_sharpening_and_enlarging_change_the_shape_but_not_the_strength(changes: dict[str, float], sign: int) -> None:
    side = int(np.ceil(SIDE / changes.get("factor", 1)))
    exposed = plain(5.0, white(side), **changes).expose(np.full((SIDE, SIDE), 0.5, np.float32))
    assert (exposed.noisy - exposed.clean).std() == pytest.approx(5 / 255, rel=0.02)
    assert np.sign(np.where(np.abs(exposed.shape) < 0.06, 0, exposed.shape))[1] == sign


def test_shape_is_zero_for_white_noise_and_measures_correlation() -> None:
    np.testing.assert_allclose(shape_of(white(512)), 0, atol=0.05)
    blocks = np.kron(white(64), np.ones((8, 8), np.float32))
    np.testing.assert_allclose(shape_of(blocks)[:3], np.log([2, 4, 8]), atol=0.02)
    rows = np.repeat(white(1024)[:, :1], 256, axis=1)
    assert shape_of(rows)[3] == pytest.approx(1, abs=0.01)
    assert shape_of(rows)[4] == pytest.approx(0, abs=0.1)


def test_the_same_noise_can_be_added_to_two_images() -> None:
    clean = render_phantom(0, SIDE)
    marked = clean.copy()
    marked[80:90, 80:90] += 0.1
    recipe = replace(Recipe.draw(SIDE, np.random.default_rng(3)), gamma=1.0)
    one, two = recipe.expose(clean), recipe.expose(marked, clean)
    inside = np.all([(image > 0) & (image < 1) for e in (one, two) for image in (e.noisy, e.clean)], axis=0)
    assert inside.mean() > 0.5
    np.testing.assert_allclose((one.noisy - one.clean)[inside], (two.noisy - two.clean)[inside], atol=1e-5)


def test_fields_have_variance_1_and_many_shapes() -> None:
    fields = [draw_field(96, np.random.default_rng(seed)) for seed in range(40)]
    assert all(field.std() == pytest.approx(1, rel=0.03) for field in fields)
    coarse = [shape_of(field)[1] for field in fields]
    assert min(coarse) < 0.1
    assert max(coarse) > 0.8


def test_curves_are_smooth_and_within_their_range() -> None:
    curves = [draw_curve(np.random.default_rng(seed)) for seed in range(60)]
    for curve in curves:
        assert curve.min() > 0
        assert curve.max() / curve.min() <= 1.01 * MOST_SD / LEAST_SD
        assert np.abs(np.diff(np.log(curve))).max() < 0.8
    slopes = [
        np.polyfit(
            np.linspace(0.1, 0.9, 20), np.log(np.interp(np.linspace(0.1, 0.9, 20), np.linspace(0, 1, KNOTS), c)), 1
        )[0]
        for c in curves
    ]
    assert min(slopes) < -0.3
    assert max(slopes) > 1.5


@pytest.mark.parametrize("sd", [0.002, 0.01, 0.03])
def test_the_level_is_the_sd_of_the_square_root_of_pixels(sd: float) -> None:
    def told_and_true(clean: float) -> tuple[float, float]:
        level = level_of(np.full((1, 1), clean, np.float32), np.full((1, 1), sd, np.float32))[0, 0]
        return float(level), float(np.sqrt(np.clip(clean + sd * white(512), 0, 1)).std())

    told, true = told_and_true(0.5)
    assert told == pytest.approx(true, rel=0.02)
    told, true = told_and_true(0.0)
    assert 0.7 * true < told < true, "near black the level stays within bounds"
