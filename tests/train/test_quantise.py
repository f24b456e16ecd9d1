from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cxr_train.models import build_model
from cxr_train.quantise import (
    MOST_WEIGHT,
    STEPS,
    QuantisedConv,
    Quantiser,
    calibrate,
    calibrated,
    on_grid,
    quantised,
    quantisers,
    weight_steps,
    weights_on_grid,
)

SMALL = {"widths": [8, 8, 8, 8]}


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model("window", SMALL).eval()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(2, 1, 64, 48), torch.tensor([0.03, 0.1])


@pytest.mark.parametrize(("zero", "low", "high"), [(0, 0.0, 25.5), (128, -12.8, 12.7)])
def test_the_grid_has_256_values_within_its_range(zero: int, low: float, high: float) -> None:
    x = torch.linspace(-40, 40, 4001)
    y = on_grid(x.clone(), 0.1, zero)
    assert len(y.unique()) == 256
    assert (y.min().item(), y.max().item()) == (pytest.approx(low), pytest.approx(high, rel=1e-5))
    inside = (x > low) & (x < high)
    assert (y - x)[inside].abs().max() <= 0.0501


def test_gradients_pass_inside_the_grid_and_train_its_step() -> None:
    quantiser = Quantiser()
    with torch.no_grad():
        quantiser.log_step.fill_(math.log(0.1))
    quantiser.on = True
    x = torch.tensor([-20.0, -3.0, 0.04, 5.0, 30.0], requires_grad=True)
    quantiser(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    # values outside the grid widen it: -12.8 below, 12.7 above; 0.04 is rounded down by 0.04
    assert quantiser.log_step.grad is not None
    assert quantiser.log_step.grad.item() * math.sqrt(5 * 255) == pytest.approx(-12.8 + 12.7 - 0.04, abs=1e-4)


def test_the_output_is_unchanged_until_the_grids_are_switched_on(
    model: torch.nn.Module, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    assert calibrated(model) is False
    with torch.no_grad():
        plain = model(*inputs)
        calibrate(model, *inputs)
        assert calibrated(model) is True
        assert torch.equal(model(*inputs), plain)
        with quantised(model):
            on = model(*inputs)
        assert torch.equal(model(*inputs), plain)
    assert 0 < (on - plain).abs().mean() < 0.01
    assert calibrated(build_model("original", {"encoder": [4, 4, 2], "decoder": [4] * 4, "latent": 4})) is None


def test_calibration_fits_the_values_seen_and_keeps_grids_already_set(
    model: torch.nn.Module, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    first, *others = quantisers(model)
    with torch.no_grad():
        first.log_step.fill_(-1.5)
    calibrate(model, *inputs)
    assert first.log_step.item() == -1.5
    seen: dict[torch.nn.Module, torch.Tensor] = {}

    def note(quantiser: torch.nn.Module, arguments: tuple[torch.Tensor], y: torch.Tensor) -> None:
        seen.setdefault(quantiser, arguments[0])  # the mottle drawn passes one grid twice; the first pass sets the step

    hooks = [q.register_forward_hook(note) for q in others]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    for quantiser in others:
        x = seen[quantiser]
        error = (on_grid(x.clone(), math.exp(quantiser.log_step.item()), quantiser.zero) - x).square().mean()
        assert error < 1e-3 * x.square().mean() + 1e-6


def test_weights_have_a_grid_for_each_output_channel() -> None:
    torch.manual_seed(0)
    conv = QuantisedConv(3, 5, 3)
    with torch.no_grad():
        conv.weight *= torch.logspace(-3, 0, 5)[:, None, None, None]
    steps = weight_steps(conv.weight.detach())
    integers = weights_on_grid(conv.weight.detach()) / steps[:, None, None, None]
    torch.testing.assert_close(integers, integers.round(), atol=1e-3, rtol=0)
    neighbours = F.pad(integers.round().permute(0, 2, 3, 1).flatten(1), (0, 1)).reshape(5, -1, 2)
    together = torch.maximum(neighbours.clamp(min=0).sum(2), (-neighbours).clamp(min=0).sum(2)).amax(dim=1)
    assert ((together - MOST_WEIGHT).abs() <= 1).all(), "steps are as fine as the limit permits"
    assert STEPS * together.max() < 1 << 15, "sums fit into 16 bits"


def test_neighbouring_weights_of_opposite_sign_do_not_coarsen_the_grid() -> None:
    """Products of opposite sign never add up to more than the larger of them."""
    weight = torch.tensor([1.0, -1.0, 1.0, 0.5]).reshape(2, 2, 1, 1)
    assert weights_on_grid(weight).flatten().tolist() == pytest.approx([1.0, -1.0, 1.0, 0.5], abs=0.02)
    assert (weight_steps(weight) * MOST_WEIGHT).tolist() == pytest.approx([1.0, 1.5])


def test_the_loss_trains_grid_steps_only_on_quantised_batches(
    model: torch.nn.Module, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    calibrate(model, *inputs)
    model.train()
    for on in (False, True):
        model.zero_grad()
        with quantised(model, on=on):
            model(*inputs)[0].square().mean().backward()
        taught = [q.log_step.grad is not None for q in quantisers(model) if q is not model.drawn]
        assert all(taught) if on else not any(taught)
        assert model.get_parameter("encoder.stem.weight").grad is not None
