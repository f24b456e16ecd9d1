from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cxr_infer.errors import ModelError
from cxr_infer.imaging.mottle import to_square_root_level
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.model.denoiser import load_model
from cxr_infer.model.installed import model_path
from cxr_train.config import NoiseConfig, TrainConfig
from cxr_train.data import XrayFiles, XrayImages
from cxr_train.detector_noise import SHAPES
from cxr_train.inserts import FAINT, INSERT_KINDS, draw_insert
from cxr_train.noise import Detector
from cxr_train.patterns import draw_pattern
from cxr_train.samples import WholeImageSamples, WindowSamples, add_noise, behind_logarithm


def test_a_batch_depends_only_on_seed_and_step(files: XrayFiles, small_config: TrainConfig) -> None:
    samples = WindowSamples(XrayImages(files.require("train")), small_config)
    first, other, again = samples.batch(3), samples.batch(4), samples.batch(3)
    for name in ("noisy", "clean", "level", "weight"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (first.noisy != other.noisy).any(), "every step draws new noise"
    reseeded = WindowSamples(XrayImages(files.require("train")), replace(small_config, seed=2)).batch(3)
    assert (first.noisy != reseeded.noisy).any()


def test_the_teacher_denoises_the_noisy_crops(files: XrayFiles, small_config: TrainConfig) -> None:
    path = model_path("window", "fp32")
    config = replace(small_config, crop=40, teacher=str(path))  # 40 px is not a multiple of the network's 16
    images = XrayImages(files.require("train"))
    batch = WindowSamples(images, config).batch(3)
    assert batch.taught is not None
    teacher = load_model(path)
    for noisy, told, taught in zip(batch.noisy, batch.told, batch.taught, strict=True):
        padded = np.pad(noisy[0].numpy(), ((0, 8), (0, 8)), mode="edge")
        expected = teacher.run(padded[None, None], float(told))[0, 0, :40, :40]
        np.testing.assert_allclose(taught[0].numpy(), expected, atol=1e-5)
    assert WindowSamples(images, small_config).batch(3).taught is None
    with pytest.raises(ModelError, match=r"model\.onnx: does not take the noise level; give"):
        WindowSamples(images, replace(config, teacher=str(model_path("new", "fp32"))))


def test_batches_have_the_documented_shapes_types_and_ranges(files: XrayFiles, small_config: TrainConfig) -> None:
    samples = WindowSamples(XrayImages(files.require("train")), replace(small_config, batch=40))
    batch = samples.batch(0)
    for image in (batch.noisy, batch.clean, batch.weight):
        assert image.shape == (40, 1, 32, 32)
        assert image.dtype == torch.float32
    assert batch.level.shape == (40, 4, 4)
    assert batch.shape.shape == (40, SHAPES)
    assert batch.told.shape == (40,)
    assert (batch.told >= 0).all()
    assert batch.noisy.min() >= 0
    assert batch.noisy.max() <= 1
    assert (batch.level >= 0).all()
    assert (batch.weight > 0).all()


def test_window_never_sees_wrapped_pixels() -> None:
    bright = np.ones((64, 64), np.float32)
    config = NoiseConfig(lowest_dose=70, highest_dose=2400, clean_share=0, poisson_share=1)
    for seed in range(30):
        noisy = add_noise(bright, config, np.random.default_rng(seed))[0].noisy
        assert noisy.min() > 0.3, "a wrapped pixel would be near black"


def test_poisson_mottle_is_labelled_with_the_level_of_its_dose() -> None:
    gray = np.full((128, 128), 0.4, np.float32)
    config = NoiseConfig(clean_share=0, poisson_share=1, lowest_dose=200, highest_dose=200)
    exposed, white = add_noise(gray, config, np.random.default_rng(0))
    assert white == pytest.approx(200)
    np.testing.assert_allclose(exposed.level, to_square_root_level(200), rtol=0.02)
    assert not exposed.shape.any()
    roots = np.sqrt(exposed.noisy)
    assert roots.std() == pytest.approx(exposed.level.mean(), rel=0.05)


@pytest.mark.parametrize("blur", [0.0, 1.2])
def test_noise_behind_a_logarithm_is_labelled_with_its_true_level(blur: float) -> None:
    clean = np.tile(np.linspace(0.2, 0.8, 256, dtype=np.float32), (256, 1))
    exposed = behind_logarithm(clean, Detector(3.0, 8000, blur, 2.0), np.random.default_rng(0))
    roots = np.sqrt(exposed.noisy) - np.sqrt(clean)
    for column in (0, 31):  # the right column has few photons
        assert roots[:, 8 * column : 8 * column + 8].std() == pytest.approx(exposed.level[:, column].mean(), rel=0.1)
    assert exposed.level[0, 31] / exposed.level[0, 0] == pytest.approx(
        np.exp(1.5 * 0.58) / np.sqrt(0.79 / 0.21), rel=0.02
    )
    if blur:
        assert exposed.shape[1] > 0.8
    else:
        np.testing.assert_allclose(exposed.shape, 0, atol=0.05)


def test_noise_free_crops_are_processed_but_equal_their_reference() -> None:
    config = NoiseConfig(clean_share=1, processed_share=1)
    clean = render_phantom(0, 64)
    crops = [add_noise(clean, config, np.random.default_rng(seed))[0] for seed in range(20)]
    for exposed in crops:
        np.testing.assert_array_equal(exposed.noisy, exposed.clean)
        assert not exposed.level.any()
    assert sum(not np.array_equal(exposed.clean, clean) for exposed in crops) > 15


@pytest.mark.parametrize("seed", range(12))
def test_patterns_are_drawn_within_range(seed: int) -> None:
    crop = np.full((96, 96), 0.5, np.float32)
    drawn = draw_pattern(crop, np.random.default_rng(seed))
    assert drawn.dtype == np.float32
    assert drawn.shape == crop.shape
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert drawn.std() > 0.001, "the pattern is visible"


@pytest.mark.parametrize("seed", range(12))
def test_inserts_change_only_pixels_in_their_mask(seed: int) -> None:
    crop = np.full((96, 96), 0.5, np.float32)
    drawn, mask = draw_insert(crop, np.random.default_rng(seed))
    assert drawn.dtype == mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1
    np.testing.assert_array_equal(drawn[mask == 0], crop[mask == 0])
    strong = mask > 0.5 * mask.max()
    assert strong.any()
    assert np.abs(drawn - crop)[strong].min() > 0.004


def test_every_kind_of_insert_is_drawn() -> None:
    for kind in (*INSERT_KINDS, *FAINT):
        masks = [kind.draw(96, np.random.default_rng(seed)) for seed in range(10)]
        assert max(mask.max() for mask in masks) > 0.5


def test_whole_images_are_noisy_and_512_px_wide(files: XrayFiles) -> None:
    config = TrainConfig("original", batch=2, size=512)
    samples = WholeImageSamples(XrayImages(files.require("train")[:2], size=512), config)
    batch = samples.batch(0)
    assert batch.noisy.shape == batch.clean.shape == (2, 1, 512, 512)
    assert (batch.noisy != batch.clean).any()
    np.testing.assert_array_equal(batch.noisy, samples.batch(0).noisy)


@pytest.mark.parametrize("poisson_share", [0.0, 1.0])
def test_pairs_differ_by_faint_inserts_under_the_same_noise(files: XrayFiles, poisson_share: float) -> None:
    config = TrainConfig("window", batch=7, crop=64, pairs=2, noise=NoiseConfig(poisson_share=poisson_share))
    batch = WindowSamples(XrayImages(files.require("train")), config).batch(2)
    assert batch.pairs == 2
    noise = batch.noisy - batch.clean
    for marked, without in ((3, 4), (5, 6)):
        insert = batch.clean[marked] - batch.clean[without]
        assert 0.01 < insert.abs().max() < 0.5
        assert torch.equal(batch.shape[marked], batch.shape[without])
        assert batch.told[marked] == batch.told[without]
        images = torch.stack([batch.noisy[marked], batch.noisy[without], batch.clean[marked], batch.clean[without]])
        unclipped = ((images > 0) & (images < 1)).all(dim=0)
        assert (noise[marked] - noise[without]).abs()[unclipped].max() < 1.01 / 255, "equal except for rounding"
    assert (batch.clean[0] != batch.clean[1]).any(), "the other crops are not pairs"
