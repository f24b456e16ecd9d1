"""A small network inside `window` that maps the local noise of an image; trained with the true noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxr_train.detector_noise import SHAPES

FLOOR = 0.001  # square-root domain, a third of a gray level at mid gray; added to a level before its logarithm
MOST_LEVEL = 0.5  # square-root domain; mottle of one photon at white
VARIATION = 20.0  # scales the variance of the features to their size
LEAST_ENERGY = 1e-7  # square-root domain, squared


class _Filters(nn.Module):
    """Learned convolutions that ignore brightness: the weights of each add up to 0."""

    def __init__(self, in_channels: int, channels: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, in_channels, side, side) * (in_channels * side**2) ** -0.5)
        self.stride, self.reach = stride, side // 2

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return F.conv2d(F.pad(x, (self.reach,) * 4, mode="replicate"), weight, stride=self.stride)


class NoiseMaps(nn.Module):
    """Level and shape of the noise in cells of 8x8 px.

    M. Ponomarenko et al. (Blind denoising of dental X-ray images, Electronic Imaging 2023, IPAS-299) give a denoiser
    maps of the noise's standard deviation at several scales. Here learned filters at four scales give the energy of
    each cell; its logarithms, seen over some 100 px, give level and shape. Training crops have known noise; line pairs,
    text and meshes among them teach it that these are not noise.
    """

    MAPS = 1 + SHAPES  # log(level + FLOOR), then the numbers of `detector_noise.shape_of`

    def __init__(self, filters: Sequence[int] = (12, 8, 6, 5), width: int = 32) -> None:
        """filters: of the image and of its means over 2x2, 4x4 and 8x8 px. width: channels of the context layers."""
        super().__init__()
        self.at_full = _Filters(4, filters[0], 3, stride=2)
        self.at_half = _Filters(1, filters[1], 5, stride=2)
        self.at_quarter = _Filters(1, filters[2], 5)
        self.at_eighth = _Filters(1, filters[3], 5)
        features = sum(filters) + 1  # a multiple of 16, which onnxruntime computes faster
        self.around = nn.ModuleList(nn.Conv2d(a, width, 3) for a in (2 * features, width, width))
        self.joined = nn.Conv2d(features + width, width, 1)
        self.told = nn.Conv2d(width, self.MAPS, 1)

    def forward(self, pixels: Tensor, half: Tensor) -> Tensor:
        """Estimate the noise.

        pixels: (N, 4, H / 2, W / 2), the 2x2 pixels of sqrt(image). half: (N, 1, H / 2, W / 2), their mean. Returns (N,
        MAPS, H / 8, W / 8).
        """
        quarter = F.avg_pool2d(half, 2)
        eighth = F.avg_pool2d(quarter, 2)
        responses = torch.cat([self.at_full(pixels), self.at_half(half), self.at_quarter(quarter)], dim=1)
        energy = torch.cat([F.avg_pool2d(responses * responses, 2), self.at_eighth(eighth) ** 2], dim=1)
        features = torch.cat([torch.log(energy + LEAST_ENERGY) / 4 + 2, 2 * eighth - 1], dim=1)
        mean = F.avg_pool2d(features, 2)
        # the energy of noise varies randomly from cell to cell, that of line pairs and meshes does not
        varied = F.avg_pool2d(features * features, 2) - mean * mean
        around = torch.cat([mean, VARIATION * varied], dim=1)
        for index, layer in enumerate(self.around):
            change = F.relu(layer(F.pad(around, (1, 1, 1, 1), mode="replicate")))
            around = around + change if index else change
        around = F.interpolate(around, scale_factor=2, mode="nearest")
        return self.told(F.relu(self.joined(torch.cat([features, around], dim=1))))


def level_in(maps: Tensor) -> Tensor:
    """Return the level, (N, 1, h, w) in the square-root domain, from maps (N, MAPS, h, w)."""
    return (torch.exp(maps[:, :1]) - FLOOR).clamp(0.0, MOST_LEVEL)


def maps_of(level: Tensor, shape: Tensor) -> Tensor:
    """Return the true maps, (N, MAPS, h, w), of levels (N, h, w) and shapes (N, SHAPES)."""
    spread = shape[:, :, None, None].expand(-1, -1, *level.shape[1:])
    return torch.cat([torch.log(level + FLOOR)[:, None], spread], dim=1)
