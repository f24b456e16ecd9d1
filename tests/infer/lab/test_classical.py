from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.lab.classical import anscombe, inverse_anscombe, stabilisers
from cxr_infer.lab.noise import WHITE_NOISE, expose

FloatImage = NDArray[np.float32]


@pytest.mark.parametrize("brightness", [0.05, 0.4, 0.9])
def test_anscombe_noise_has_sd_1_and_its_inverse_is_unbiased(brightness: float) -> None:
    clean = np.full((400, 400), brightness, np.float32)
    stable = anscombe(poisson_mottle(clean, 200.0, np.random.default_rng(0)), 200.0)
    assert stable.std() == pytest.approx(1, abs=0.02)
    mean = np.full((1, 1), stable.mean(), np.float32)
    assert inverse_anscombe(mean, 200.0)[0, 0] == pytest.approx(brightness, rel=0.005)


@pytest.mark.parametrize("name", ["canon_dr_chest", "fuji_cr_hip", WHITE_NOISE])
def test_stabilised_noise_has_sd_1_at_every_brightness(name: str) -> None:
    clean = np.tile(np.linspace(0.15, 0.85, 384, dtype=np.float32), (384, 1))
    noisy, told = expose(clean, name, 3600.0, np.random.default_rng(0))
    forward, inverse = stabilisers(told.curve)
    np.testing.assert_allclose(inverse(forward(clean)), clean, atol=1e-4)
    stable = (forward(noisy) - forward(clean)).reshape(384, 8, 48).std(axis=(0, 2))
    np.testing.assert_allclose(stable, 1, atol=0.12)
