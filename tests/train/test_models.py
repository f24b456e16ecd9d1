from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cxr_infer.errors import ModelError
from cxr_infer.model.card import MODEL_NAMES
from cxr_train import models
from cxr_train.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint, start_from
from cxr_train.models import Upsample, WindowDenoisingAutoencoder, build_model
from cxr_train.noise_maps import FLOOR
from cxr_train.quantise import QuantisedConv, calibrate, quantised
from cxr_train.specs import SPECS
from tests.conftest import REPOSITORY
from tests.train.conftest import same_weights

INFO = CheckpointInfo("window", {"widths": [8, 8, 16, 16]}, {"steps": 3}, {"fingerprint": "abc"}, {"score": 1.0}, "0")


def test_classes_have_the_published_names() -> None:
    assert tuple(SPECS) == MODEL_NAMES
    names = {
        name: (type(m).__name__, *(type(part).__name__ for part in (m.encoder, m.decoder)))
        for name in SPECS
        for m in [build_model(name)]
    }
    assert names == {
        "original": ("DenoisingAutoencoder", "Encoder", "Decoder"),
        "new": ("NewDenoisingAutoencoder", "NewEncoder", "NewDecoder"),
        "window": ("WindowDenoisingAutoencoder", "WindowEncoder", "WindowDecoder"),
    }


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_names_the_network_and_its_arguments(name: str) -> None:
    model, spec = build_model(name), SPECS[name]
    assert type(model) is getattr(models, spec.network)
    told = {key: value if isinstance(value, int) else list(value) for key, value in spec.arguments.items()}
    assert model.arguments == told
    assert spec.defaults.model == name


@pytest.mark.parametrize(("name", "stages"), [("original", 3), ("new", 4)])
def test_whole_image_models_have_the_specified_topology(name: str, stages: int) -> None:
    model = build_model(name)
    assert len(model.encoder.convolutions) == stages
    assert len(model.decoder.transposed) == 4
    assert sum(isinstance(part, torch.nn.Linear) for part in model.modules()) == 2
    out = model(torch.rand(2, 1, 512, 512))
    assert out.shape == (2, 1, 512, 512)
    assert 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (64, 64), (33, 100)])
def test_window_runs_at_any_size(shape: tuple[int, int]) -> None:
    model = build_model("window").eval()
    out = model(torch.rand(2, 1, *shape), torch.full((2,), 0.05))
    assert out.shape == (2, 1, *shape)
    assert 0 <= out.min() <= out.max() <= 1


def test_window_has_four_stages_and_returns_noise_free_input_unchanged() -> None:
    model = WindowDenoisingAutoencoder([8, 8, 8, 8]).eval()
    assert [len(model.encoder.stages), len(model.encoder.down), len(model.decoder.up)] == [4, 3, 3]
    x = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(model(x, torch.zeros(1)), x)
    assert (model(x, torch.full((1,), 0.1)) - x).abs().max() > 1e-3


def test_a_model_is_rebuilt_from_its_file_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(INFO.model, INFO.arguments)
    save_checkpoint(tmp_path / "c.safetensors", model.state_dict(), INFO)
    rebuilt, info = load_checkpoint(tmp_path / "c.safetensors")
    assert info == INFO
    assert same_weights(rebuilt, model)
    assert not rebuilt.training


def test_bad_checkpoints_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(ModelError, match=r"c\.safetensors: no such checkpoint.*train"):
        load_checkpoint(path)
    path.write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"c\.safetensors: damaged"):
        load_checkpoint(path)
    save_checkpoint(path, build_model("new").state_dict(), INFO)
    with pytest.raises(ModelError, match="do not fit"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_shipped_checkpoints_were_trained_on_xrays(name: str) -> None:
    model, info = load_checkpoint(REPOSITORY / "weights" / name / "checkpoint.safetensors")
    assert info.model == name
    assert info.data["images"]["train"] > 500
    assert info.training["steps_done"] > 500
    assert all(np.isfinite(value) for value in info.metrics.values())
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_blocks_added_to_trained_weights_do_not_change_the_output(tmp_path: Path) -> None:
    small = {"widths": [8, 8, 8, 8], "encoder_blocks": [1, 1, 1, 1], "decoder_blocks": [1, 1, 1]}
    trained = build_model("window", small)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, trained.state_dict(), INFO)
    grown = build_model("window", small | {"encoder_blocks": [2, 3, 1, 1], "decoder_blocks": [2, 1, 2]})
    start_from(grown, path)
    x, level = torch.rand(2, 1, 32, 32), torch.full((2,), 0.05)
    torch.testing.assert_close(grown.eval()(x, level), trained.eval()(x, level))
    with pytest.raises(
        ModelError, match=r"c\.safetensors: its \S+ does not fit the network; start from weights with the same --widths"
    ):
        start_from(build_model("window"), path)


def test_window_is_small_enough_for_a_laptop() -> None:
    model, size = build_model("window").eval(), 64
    multiply_adds = 0

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal multiply_adds
        applications = inputs[0] if isinstance(layer, torch.nn.ConvTranspose2d) else output
        per_place = layer.weight.numel()
        multiply_adds += per_place * applications[0, 0].numel()

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    model(torch.rand(1, 1, size, size), torch.full((1,), 0.05))
    assert 20_000 < multiply_adds / size**2 < 45_000
    assert sum(parameter.numel() for parameter in model.parameters()) * 4 < 5_000_000
    assert (REPOSITORY / "weights" / "window" / "checkpoint.safetensors").stat().st_size < 5_000_000


def test_upsampling_is_a_transposed_convolution_of_kernel_and_stride_2() -> None:
    torch.manual_seed(0)
    up, x = Upsample(6, 3), torch.rand(2, 6, 4, 5)
    weight = up.conv.weight[:, :, 0, 0].unflatten(0, (2, 2, 3)).permute(3, 2, 0, 1)  # (in, out, rows, columns)
    bias = up.conv.bias.unflatten(0, (2, 2, 3)).permute(2, 0, 1).repeat(1, 4, 5)
    torch.testing.assert_close(up(x), nn.functional.conv_transpose2d(x, weight, stride=2) + bias)


def test_detail_is_the_difference_from_the_surround_in_noise_levels() -> None:
    model = WindowDenoisingAutoencoder((8, 8, 8, 8))
    root = torch.full((2, 1, 32, 32), 0.5)
    level = torch.tensor([0.02, 0.04])[:, None, None, None]

    def seen(level: torch.Tensor) -> list[torch.Tensor]:
        return model._seen(nn.functional.pixel_unshuffle(root, 2), nn.functional.avg_pool2d(root, 2), level)

    def detail(level: torch.Tensor) -> torch.Tensor:
        """Fine plus coarse detail, in units of the level."""
        _, fine, coarse = seen(level)
        return fine + model.COARSE * coarse

    assert detail(level).abs().max() < 1e-5
    root[:, 0, 17, 16] += 0.1  # lower left of its 2x2 block: channel 2; 1 of the 100 pixels of its surround
    torch.testing.assert_close(detail(level)[:, 2, 8, 8], 0.99 * torch.tensor([5.0, 2.5]), rtol=1e-3, atol=0)
    assert seen(level)[1].max() == model.FINE
    assert all(part.abs().max() <= 2 for part in seen(torch.zeros(2, 1, 1, 1)))
    torch.testing.assert_close(seen(level)[0], 4 * nn.functional.pixel_unshuffle(root, 2) - 2)


def test_the_network_receives_a_global_level_and_maps_of_level_and_shape() -> None:
    torch.manual_seed(0)
    model = WindowDenoisingAutoencoder((8, 8, 8, 8))
    level = torch.full((1, 1, 1, 1), 0.04)
    maps = torch.zeros(1, model.noise.MAPS, 2, 4)
    maps[:, 0] = torch.log(torch.tensor([0.02, 0.02, 0.08, 0.08]) + FLOOR)
    told = model._told(maps, level)
    assert told.shape == (1, model.TOLD, 4, 8)
    assert not torch.allclose(told[..., 0], told[..., 7]), "the local level is received"
    other = maps.clone()
    other[:, 1:] = 0.5
    assert not torch.allclose(model._told(other, level), told), "the shape is received"
    everywhere = model._told(maps, 2 * level) - told
    assert everywhere.abs().max() > 1e-3, "the level of the whole image is received"


def test_mottle_is_on_a_fine_grid_and_beyond_it_on_a_coarse_one() -> None:
    model = WindowDenoisingAutoencoder((8, 8, 8, 8)).eval()
    strengths = torch.linspace(-8, 8, 1601)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.weight[:, 0, 1, 1] = 1
        features = torch.zeros(1, 8, 1, len(strengths))
        features[0, 0, 0] = strengths
        plain = model._mottle(features)[0, 0, 0, ::2]
        with quantised(model):
            on_grids = model._mottle(features)[0, 0, 0, ::2]
    torch.testing.assert_close(plain, strengths)
    error = (on_grids - strengths).abs()
    step, widest = model.FINELY_DRAWN / 127, model.FINELY_DRAWN * model.WIDER
    assert error[strengths.abs() <= model.FINELY_DRAWN].max() < 0.51 * step
    assert error[strengths.abs() <= widest].max() < 0.51 * step * model.WIDER, "the two grids leave no gap"
    assert on_grids[-1].item() == pytest.approx(widest), "clipped to the range of the coarse grid"


@pytest.mark.slow
def test_a_compiled_model_computes_the_same_with_and_without_grids() -> None:
    """As in training on a GPU, but without generated kernels, whose compiler may be missing."""
    torch.manual_seed(0)
    model = build_model("window", {"widths": [8, 8, 8, 8]}).train()
    for block in model.modules():
        if isinstance(block, QuantisedConv):
            block.reset_parameters()
    inputs = torch.rand(1, 1, 32, 32), torch.tensor([0.05])
    calibrate(model, *inputs)
    compiled = torch.compile(model, dynamic=False, backend="aot_eager", fullgraph=True)
    for on in (False, True):
        gradients = []
        for computed in (model, compiled):
            with quantised(model, on=on):
                result, maps = computed(*inputs)
                (result.square().mean() + maps.square().mean()).backward()
            gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
            gradients[-1].append(result.detach())
            model.zero_grad()
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)
