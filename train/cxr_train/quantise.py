"""8-bit integers in training and export: every activation on a grid of 256 steps, every weight on 255.

The step of an activation's grid is learned with the weights (Esser et al., Learned Step Size Quantization, ICLR 2020).
Training steps with and without the grids alternate, so that one set of weights serves both precisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 255  # of an unsigned 8-bit activation
MIDDLE = 128  # stands for 0 if values have either sign
MOST_WEIGHT = 127  # largest signed 8-bit weight, and largest sum of two neighbours
CLIP_CANDIDATES = tuple(
    0.9**power for power in range(24)
)  # fractions of the largest value, for the first guess of a grid
LEAST_RANGE = 0.1  # minimum range of a first guess, because a fresh block outputs 0
SAMPLE = 1 << 16  # values used for the first guess


def exporting() -> bool:
    """Whether a graph is being traced for an ONNX file; torch.compile of torch 2.11 also claims to export."""
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def on_grid(x: Tensor, step: float, zero: int) -> Tensor:
    """Round each value to the grid step * (0 - zero ... STEPS - zero); the shape is kept."""
    return (x / step).round_().clamp_(-zero, STEPS - zero).mul_(step)


class _OnGrid(torch.autograd.Function):
    """Round to the grid. Gradients: straight-through inside it, and of the logarithm of its step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_step: Tensor, zero: int) -> Tensor:
        if x.is_cuda or torch.compiler.is_compiling():
            # Reading a number from a GPU waits for all queued work; combined with a tensor, x must be float32.
            # Compiled by torch 2.11, a tensor changed in place or cast to its own type silently loses its gradient
            # (pytorch issue 180642), so this branch does neither
            step = torch.exp(log_step)
            values = torch.clamp(torch.round(x.float() / step), -zero, STEPS - zero) * step
            if x.dtype != values.dtype:
                values = values.to(x.dtype)
        else:
            values = on_grid(x, math.exp(float(log_step)), zero)
        ctx.save_for_backward(x, log_step, values)
        ctx.zero = zero
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, log_step, values = ctx.saved_tensors
        step = torch.exp(log_step)
        inside = (x >= -ctx.zero * step) & (x <= (STEPS - ctx.zero) * step)
        through = torch.where(inside, gradient, 0)
        # d values / d log(step) is values - x inside the grid and values beyond it
        of_step = (gradient * values - through * x).sum(dtype=torch.float32)
        return through, of_step / math.sqrt(x.numel() * STEPS), None


class Quantiser(nn.Module):
    """Rounds activations to a grid of unsigned 8-bit integers while switched on.

    zero: the integer that stands for 0; MIDDLE for values of either sign, 0 for values after a ReLU. step: of the grid,
    if it is fixed instead of calibrated and learned.
    """

    def __init__(self, zero: int = MIDDLE, step: float | None = None) -> None:
        super().__init__()
        self.zero = zero
        # exactly 0: not calibrated yet
        self.log_step = nn.Parameter(torch.tensor(math.log(step or 1.0)), requires_grad=step is None)
        self.on = False
        self.calibrating = False

    def forward(self, x: Tensor) -> Tensor:
        if self.calibrating and not self.log_step:
            self._calibrate(x)
        if not self.on:
            return x
        if not exporting():
            return _OnGrid.apply(x, self.log_step, self.zero)
        grid = (torch.exp(self.log_step.detach()), torch.tensor(self.zero, dtype=torch.uint8))
        stored = torch.onnx.ops.symbolic("QuantizeLinear", (x, *grid), dtype=torch.uint8, shape=x.shape)
        return torch.onnx.ops.symbolic("DequantizeLinear", (stored, *grid), dtype=torch.float32, shape=x.shape)

    def _calibrate(self, x: Tensor) -> None:
        """Choose the step with the smallest mean squared error over these values."""
        values = x.detach().float().flatten()
        values = values[:: max(1, values.numel() // SAMPLE)]
        widest = max(float(values.abs().max()), LEAST_RANGE) / (STEPS - self.zero)
        steps = [widest * share for share in CLIP_CANDIDATES]
        errors = [float((on_grid(values, step, self.zero) - values).square().mean()) for step in steps]
        with torch.no_grad():
            self.log_step.fill_(math.log(steps[errors.index(min(errors))]))


class QuantisedConv(nn.Conv2d):
    """A convolution whose weights lie on a grid of signed 8-bit integers per output channel while switched on."""

    on = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.on or exporting():  # the export stores the integers themselves
            return super().forward(x)
        weight = self.weight + (weights_on_grid(self.weight.detach()) - self.weight.detach())
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


def weight_steps(weight: Tensor) -> Tensor:
    """Return the step of each output channel's grid, (O,). weight: (O, I, H, W).

    Two weights of one sign on neighbouring input channels add up to at most MOST_WEIGHT steps. x86 CPUs without VNNI
    add their products in 16 bits (`vpmaddubsw`), which overflow if activations of 255 meet weights that add up to more
    than 128; one step is left for rounding. On the shipped weights such grids are 1.3 times coarser and cost 0.002 dB.
    """
    neighbours = F.pad(weight.permute(0, 2, 3, 1).flatten(1), (0, weight[0].numel() % 2)).unflatten(1, (-1, 2))
    either_sign = torch.stack([neighbours, -neighbours]).clamp(min=0)
    return either_sign.sum(dim=-1).amax(dim=(0, 2)).clamp(min=1e-8) / MOST_WEIGHT


def weights_on_grid(weight: Tensor) -> Tensor:
    """Round each weight to its grid; the shape is kept."""
    step = weight_steps(weight)[:, None, None, None]
    return torch.round(weight / step) * step


def quantisers(model: nn.Module) -> list[Quantiser]:
    return [module for module in model.modules() if isinstance(module, Quantiser)]


def calibrated(model: nn.Module) -> bool | None:
    """Whether every activation's grid has a step; None for a model without grids."""
    grids = quantisers(model)
    return all(bool(grid.log_step) for grid in grids) if grids else None


@contextmanager
def quantised(model: nn.Module, *, on: bool = True) -> Iterator[None]:
    """Compute on the model's 8-bit grids while the context lasts."""
    modules = [module for module in model.modules() if isinstance(module, Quantiser | QuantisedConv)]
    for module in modules:
        module.on = on
    try:
        yield
    finally:
        for module in modules:
            module.on = False


def calibrate(model: nn.Module, *inputs: Tensor) -> None:
    """Set missing steps of activation grids by one pass over typical inputs."""
    for quantiser in quantisers(model):
        quantiser.calibrating = True
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for quantiser in quantisers(model):
            quantiser.calibrating = False
