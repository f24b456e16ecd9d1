from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cxr_infer.imaging.metrics import ssim
from cxr_infer.imaging.phantom import render_phantom
from cxr_train.config import TrainConfig
from cxr_train.data import XrayFiles
from cxr_train.detector_noise import SHAPES
from cxr_train.noise_maps import level_in, maps_of
from cxr_train.tasks import CONTRAST, contrast_lost, dissimilarity, expected_error, lines_wrong, make_task, map_error

CLEAN = torch.zeros(4, 1, 32, 32)
CLEAN[0, 0, 10:14, 5:25] = 0.08
CLEAN[2, 0, 20:24, 5:25] = -0.08


@pytest.mark.parametrize(("kept", "lost"), [(1.0, 0.0), (0.7, 0.09), (0.0, 1.0), (1.2, 0.04)])
def test_contrast_lost_is_the_relative_energy_of_the_error(kept: float, lost: float) -> None:
    mottle = torch.rand(2, 1, 32, 32).repeat_interleave(2, dim=0)
    assert contrast_lost(kept * CLEAN + mottle, CLEAN).item() == pytest.approx((1 + CONTRAST) * lost, abs=1e-4)


def test_an_error_in_shape_costs_less_than_an_equal_loss_of_contrast() -> None:
    beside = CLEAN.roll(8, dims=2)  # of the same energy as the insert, but outside it
    shape_only, fainter = CLEAN + 0.5 * beside, 0.5 * CLEAN
    assert contrast_lost(shape_only, CLEAN).item() < 0.5 * contrast_lost(fainter, CLEAN).item()


def test_dissimilarity_agrees_with_the_shipped_ssim() -> None:
    clean = render_phantom(1, 192)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 0.05, clean.shape), 0, 1).astype(np.float32)
    both = (torch.from_numpy(image)[None, None] for image in (clean, noisy))
    assert 1 - dissimilarity(*both).item() == pytest.approx(ssim(clean, noisy), abs=0.02)
    same = torch.from_numpy(clean)[None, None]
    assert dissimilarity(same, same).item() == pytest.approx(0, abs=1e-5)


def test_a_halo_around_an_insert_counts_as_lost() -> None:
    halo = CLEAN.clone()
    halo[0, 0, 15:18, 5:25] = -0.04
    assert contrast_lost(halo, CLEAN).item() > 0.05


def test_an_insert_clipped_to_nothing_hardly_counts() -> None:
    clipped = CLEAN * 1e-4
    assert contrast_lost(torch.zeros_like(clipped), clipped).item() < 1e-5


def test_the_expected_error_falls_with_the_dose() -> None:
    levels = 0.5 / torch.sqrt(torch.tensor([20.0, 71.0, 200.0, 600.0]))
    errors = expected_error(levels[:, None, None].expand(4, 8, 8), torch.zeros(4, SHAPES)).flatten()
    torch.testing.assert_close(errors, torch.tensor([0.0199, 0.0131, 0.0094, 0.0066]), rtol=0.03, atol=0)


def test_correlated_noise_raises_the_expected_error() -> None:
    level, shape = torch.full((3, 8, 8), 0.02), torch.zeros(3, SHAPES)
    shape[1], shape[2] = 1.0, -0.3
    white, correlated, sharpened = expected_error(level, shape).flatten().tolist()
    assert sharpened < white < correlated
    as_strong = expected_error(level[:1] * np.e, torch.zeros(1, SHAPES)).item()
    assert correlated == pytest.approx(as_strong, rel=1e-3), "equal to white noise of the same strength over 4x4 px"


def test_map_error_covers_the_level_and_the_shape_of_noisy_areas() -> None:
    level, shape = torch.full((2, 4, 4), 0.02), torch.full((2, SHAPES), 0.5)
    true = maps_of(level, shape)
    assert map_error(true, level, shape).item() == 0
    torch.testing.assert_close(level_in(true)[:, 0], level)
    off = true.clone()
    off[:, 1:] += 0.5
    of_noise = map_error(off, level, shape).item()
    off_clean = maps_of(torch.zeros_like(level), shape)
    off_clean[:, 1:] += 0.5
    assert map_error(off_clean, torch.zeros_like(level), shape).item() == 0 < of_noise
    off = true.clone()
    off[:, 0] += 0.5
    assert map_error(off, level, shape).item() > of_noise


def test_the_loss_includes_the_difference_from_the_teacher(files: XrayFiles, small_config: TrainConfig) -> None:
    task = make_task(files, small_config)
    batch = task.samples.batch(0)

    class GivesClean(torch.nn.Module):
        def forward(self, noisy: torch.Tensor, told: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return batch.clean, maps_of(batch.level, batch.shape)

    untaught, agreed, contradicted = (
        task.loss(GivesClean(), replace(batch, taught=taught)).item()
        for taught in (None, batch.clean, batch.clean * 0.9)
    )
    assert agreed == untaught
    apart = 0.1 * batch.clean / expected_error(batch.level, batch.shape)
    assert contradicted - untaught == pytest.approx(small_config.teacher_weight * (apart**2).mean().item(), rel=1e-3)


def test_false_lines_cost_more_than_lost_ones_in_correlated_noise() -> None:
    plain = torch.full((1, 1, 64, 64), 0.5)
    line = plain.clone()
    line[..., 20:44, 32] += 0.1
    level, white = torch.full((1, 8, 8), 0.02), torch.zeros(1, SHAPES)
    made, lost = ((a, b, level) for a, b in ((line, plain), (plain, line)))
    assert lines_wrong(*made, white) == lines_wrong(*lost, white) > 0
    assert lines_wrong(*made, white + 1) > 2 * lines_wrong(*lost, white + 1)
    assert lines_wrong(*lost, white + 1) > 2 * lines_wrong(*lost, white)
    assert lines_wrong(plain, plain, level, white) == 0
