"""The three autoencoders of the published work, under its class names. Shapes: N, C, H, W; pixels in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxr_train.noise_maps import NoiseMaps, level_in
from cxr_train.quantise import MIDDLE, STEPS, QuantisedConv, Quantiser, exporting
from cxr_train.specs import SPECS

WHOLE_IMAGE_SIDE = 512  # px, side of the images seen by `original` and `new`


class Encoder(nn.Module):
    """Three 3x3 convolutions, each followed by 2x2 max-pooling, then one fully-connected layer to the code."""

    def __init__(self, widths: Sequence[int], latent: int) -> None:
        super().__init__()
        pairs = zip((1, *widths[:-1]), widths, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        side = WHOLE_IMAGE_SIDE >> len(widths)
        self.to_code = nn.Linear(widths[-1] * side * side, latent)

    def forward(self, noisy: Tensor) -> Tensor:
        x = noisy
        for convolution in self.convolutions:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        return self.to_code(x.flatten(1))  # (N, latent)


class Decoder(nn.Module):
    """One fully-connected layer, four transposed convolutions with stride 2, a sigmoid, bilinear resize to 512."""

    def __init__(self, widths: Sequence[int], latent: int, side: int) -> None:
        super().__init__()
        self.side, self.channels = side, widths[0]
        self.from_code = nn.Linear(latent, widths[0] * side * side)
        pairs = zip(widths, (*widths[1:], 1), strict=True)
        self.transposed = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in pairs)

    def forward(self, code: Tensor) -> Tensor:
        x = F.relu(self.from_code(code)).unflatten(1, (self.channels, self.side, self.side))
        for layer in self.transposed[:-1]:
            x = F.relu(layer(x))
        x = torch.sigmoid(self.transposed[-1](x))
        if x.shape[-1] != WHOLE_IMAGE_SIDE:
            x = F.interpolate(x, size=(WHOLE_IMAGE_SIDE, WHOLE_IMAGE_SIDE), mode="bilinear", align_corners=False)
        return x


class DenoisingAutoencoder(nn.Module):
    """`original`: reduction by 8, a code, four transposed convolutions from 16x16 to 256x256, bilinear to 512x512."""

    def __init__(
        self, encoder: Sequence[int] = (16, 32, 4), decoder: Sequence[int] = (16, 32, 16, 8), latent: int = 128
    ):
        super().__init__()
        self.arguments = {"encoder": list(encoder), "decoder": list(decoder), "latent": latent}
        self.encoder = Encoder(encoder, latent)
        self.decoder = Decoder(decoder, latent, side=16)

    def forward(self, noisy: Tensor) -> Tensor:
        return self.decoder(self.encoder(noisy))


class NewEncoder(Encoder):
    """Four convolutions with max-pooling: reduction by 16."""


class NewDecoder(Decoder):
    """From the code to 32x32, then four transposed convolutions up to 512x512."""


class NewDenoisingAutoencoder(nn.Module):
    """`new`: reduction by 16, a code, four transposed convolutions from 32x32 to 512x512."""

    def __init__(
        self, encoder: Sequence[int] = (16, 32, 32, 4), decoder: Sequence[int] = (8, 32, 16, 8), latent: int = 256
    ):
        super().__init__()
        self.arguments = {"encoder": list(encoder), "decoder": list(decoder), "latent": latent}
        self.encoder = NewEncoder(encoder, latent)
        self.decoder = NewDecoder(decoder, latent, side=32)

    def forward(self, noisy: Tensor) -> Tensor:
        return self.decoder(self.encoder(noisy))


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), both 3x3. A fresh block is the identity, so that a trained network can grow by
    blocks.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = QuantisedConv(channels, channels, 3, padding=1)
        self.hidden = Quantiser(zero=0)
        self.second = QuantisedConv(channels, channels, 3, padding=1)
        self.change = Quantiser()
        self.changed = Quantiser()
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        change = self.change(self.second(self.hidden(F.relu(self.first(x)))))
        return self.changed(x + change)


def _stages(widths: Sequence[int], blocks: Sequence[int]) -> nn.ModuleList:
    counts = zip(widths, blocks, strict=True)
    return nn.ModuleList(nn.Sequential(*(ResidualBlock(width) for _ in range(count))) for width, count in counts)


class WindowEncoder(nn.Module):
    """Four convolutional stages down, at 1/2, 1/4, 1/8 and 1/16 of the resolution."""

    def __init__(self, in_channels: int, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.entering = Quantiser()
        self.stem = QuantisedConv(in_channels, widths[0], 3, padding=1)
        self.entered = Quantiser()
        self.stages = _stages(widths, blocks)
        self.down = nn.ModuleList(
            nn.Sequential(QuantisedConv(a, b, 2, stride=2), Quantiser()) for a, b in pairwise(widths)
        )

    def forward(self, seen: Sequence[Tensor], told: Tensor) -> list[Tensor]:
        """seen: inputs to concatenate, each (N, C, H / 2, W / 2). told: (N, TOLD, H / 4, W / 4).

        Returns each stage's features, finest first: [(N, widths[i], H / 2^(i+1), W / 2^(i+1))].
        """
        x = self.entered(self.stem(self._entering(seen, told)))
        features = [self.stages[0](x)]
        for down, stage in zip(self.down, self.stages[1:], strict=True):
            features.append(stage(down(features[-1])))
        return features

    def _entering(self, seen: Sequence[Tensor], told: Tensor) -> Tensor:
        """Concatenate everything on one grid, (N, C, H / 2, W / 2)."""
        if not (self.entering.on and exporting()):
            told = F.interpolate(told, scale_factor=2, mode="nearest")
            return self.entering(torch.cat([*seen, told], dim=1))
        # enlarge and concatenate as integers, a quarter of the bytes
        told = F.interpolate(self.entering(told), scale_factor=2, mode="nearest")
        x = self.entering(torch.cat([self.entering(part) for part in (*seen, told)], dim=1))
        # The two transposes make onnxruntime's int8 keep this tensor channels-last; otherwise it transposes around
        # each sum at this resolution, a twentieth of its time. It is on the grid in between, or OpenVINO, given fixed
        # shapes, removes both transposes and crashes while compiling
        rows = self.entering(x.permute(0, 2, 3, 1))
        return self.entering(rows.permute(0, 3, 1, 2))


class Upsample(nn.Module):
    """Double height and width: a 1x1 convolution whose channels are distributed to 2x2 pixels.

    It computes the same as a transposed convolution with kernel and stride 2. Channels are ordered upper left, upper
    right, lower left, lower right pixel, so that with channels last, whole rows of channels move in memory. As
    `DepthToSpace`, int8 in onnxruntime took an eighth longer in total.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = QuantisedConv(channels, 4 * out_channels, 1)
        self.enlarged = Quantiser()

    def forward(self, x: Tensor) -> Tensor:
        dealt = self.enlarged(self.conv(x)).permute(0, 2, 3, 1)
        n, height, width, _ = dealt.shape
        dealt = dealt.reshape(n, height, width, 2, 2, -1).transpose(2, 3).reshape(n, 2 * height, 2 * width, -1)
        x = dealt.permute(0, 3, 1, 2)
        # the values are still on the grid; the ONNX file must say so, or the sum is not computed in integers
        return self.enlarged(x) if exporting() else x


class WindowDecoder(nn.Module):
    """Back up to 1/2 of the resolution; each stage adds the encoder's features."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.stages = _stages(widths[:-1], blocks)
        pairs = zip(widths[1:], widths[:-1], strict=True)
        self.up = nn.ModuleList(Upsample(a, b) for a, b in pairs)
        self.joined = nn.ModuleList(Quantiser() for _ in self.up)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for index in reversed(range(len(self.stages))):
            x = self.stages[index](self.joined[index](self.up[index](x) + features[index]))
        return x


def _functions(level: Tensor) -> tuple[Tensor, Tensor]:
    """Return two functions of a level of any shape, one for strong noise and one for faint noise."""
    return level * 10, torch.log(level + 0.003) / 3 + 1


class WindowDenoisingAutoencoder(nn.Module):
    """`window`: predicts the mottle to subtract, at native resolution, for windows of any size.

    It works in the square-root domain, where Poisson mottle is equally strong at every brightness, and is told its
    strength in the whole image: denoised = (sqrt(noisy) - noise_level * mottle)^2, where `mottle` is the network's
    output in units of the level. Besides the pixels it sees the difference of each pixel from its surround, also in
    units of the level, so that faint mottle of a high dose looks as strong as that of a low dose. A small network
    inside, `NoiseMaps`, estimates the local strength and spectrum of the noise. In ONNX, pixel-unshuffle is built from
    slices; its inverse from a fixed convolution in float32 and from `DepthToSpace` in int8, where that is faster.
    """

    STRIDE = 16  # height and width of a window are multiples of it
    SURROUND = 2  # radius of the surround at half of the resolution: 10x10 px
    LEAST_LEVEL = 0.004  # lower bound of the unit, for clean images
    FINE, COARSE = 2.0, 2.0  # detail is given up to FINE levels, and the rest in units of COARSE levels
    FINELY_DRAWN = 3.1  # range of the finer of two grids, +- levels of mottle
    WIDER = 2.0  # step and range of the other grid relative to the finer
    TOLD = 8  # channels that describe the noise

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 96, 96),
        encoder_blocks: Sequence[int] = (1, 2, 2, 0),
        decoder_blocks: Sequence[int] = (2, 2, 1),
    ) -> None:
        """widths: channels of each stage. encoder_blocks, decoder_blocks: residual blocks of each stage, finest
        first.
        """
        super().__init__()
        self.arguments = {
            "widths": list(widths),
            "encoder_blocks": list(encoder_blocks),
            "decoder_blocks": list(decoder_blocks),
        }
        self.shuffle_by_4: Tensor
        self.register_buffer("shuffle_by_4", torch.eye(16).reshape(16, 1, 4, 4), persistent=False)
        self.noise = NoiseMaps()
        self.noise_stem = nn.Sequential(nn.Conv2d(3 + NoiseMaps.MAPS, 48, 1), nn.ReLU(), nn.Conv2d(48, self.TOLD, 1))
        self.encoder = WindowEncoder(12 + self.TOLD, widths, encoder_blocks)
        self.decoder = WindowDecoder(widths, decoder_blocks)
        self.head = QuantisedConv(widths[0], 4, 3, padding=1)
        self.drawn = Quantiser(step=self.FINELY_DRAWN / (STEPS - MIDDLE))

    def forward(self, noisy: Tensor, noise_level: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """noisy: (N, 1, H, W) in [0, 1]. noise_level: (N,), sd of sqrt(pixel) in the whole image.

        Returns (N, 1, H, W) in [0, 1]; in training also the maps of the noise, (N, MAPS, H / 8, W / 8). In an export, H
        and W are multiples of 16 by contract; otherwise the window is padded here.
        """
        height, width = noisy.shape[-2:]
        if not exporting():
            noisy = F.pad(noisy, (0, -width % self.STRIDE, 0, -height % self.STRIDE), mode="replicate")
        root = torch.sqrt(noisy)
        level = noise_level[:, None, None, None]
        pixels = torch.cat([root[..., y::2, x::2] for y in (0, 1) for x in (0, 1)], dim=1)
        half = F.avg_pool2d(root, 2)
        maps = self.noise(pixels, half)
        told = self._told(maps.detach(), level)  # the denoising loss does not train the maps
        # encoder and decoder may run in bfloat16
        features = self.decoder(self.encoder(self._seen(pixels, half, level), told)).float()
        clean_root = root - level * self._mottle(features)
        if self.training:  # unclipped, so that a pixel beyond black or white still has a gradient
            return (clean_root * clean_root)[..., :height, :width], maps
        clean_root = clean_root.clamp(0.0, 1.0)
        denoised = clean_root * clean_root
        return denoised if exporting() else denoised[..., :height, :width]

    def _told(self, maps: Tensor, level: Tensor) -> Tensor:
        """maps: (N, MAPS, H / 8, W / 8), level: (N, 1, 1, 1). Returns learned functions of both, (N, TOLD, H / 4, W /
        4) in [-2, 2], smooth across cells.
        """
        here = level_in(maps)
        # broadcast the level by a sum, which every ONNX runtime supports
        everywhere = torch.cat([here * 0 + known for known in _functions(level)], dim=1)
        told = self.noise_stem(torch.cat([*_functions(here), maps[:, 1:], everywhere], dim=1))
        return F.interpolate(told, scale_factor=2, mode="bilinear", align_corners=False).clamp(-2.0, 2.0)

    def _seen(self, pixels: Tensor, half: Tensor, level: Tensor) -> list[Tensor]:
        """Return the encoder's view of the image, 3 x (N, 4, H / 2, W / 2) in [-2, 2].

        pixels: (N, 4, H / 2, W / 2), half: (N, 1, H / 2, W / 2), level: (N, 1, 1, 1).

        For every 2x2 pixels: the pixels, and their differences from the mean of the surround in units of the level,
        split into two parts that add up. The network reproduces a pixel's mottle almost as it sees it, so that rounding
        by the grid is lost: the first part is as fine as 256 steps allow.
        """
        padded = F.pad(half, (self.SURROUND,) * 4, mode="replicate")
        surround = torch.cat([F.avg_pool2d(padded, 2 * self.SURROUND + 1, stride=1)] * 4, dim=1)
        detail = (pixels - surround) / level.clamp(min=self.LEAST_LEVEL)
        fine = detail.clamp(-self.FINE, self.FINE)
        coarse = ((detail - fine) / self.COARSE).clamp(-2.0, 2.0)
        return [4 * pixels - 2, fine, coarse]

    def _mottle(self, features: Tensor) -> Tensor:
        """features: (N, widths[0], H / 2, W / 2). Returns the mottle in units of the level, (N, 1, H, W).

        It is computed on two 8-bit grids, one fine where most values lie, one wide enough for white strokes; in float32
        the two add up to it.
        """
        if not exporting():
            drawn = self.head(features)
            return F.pixel_shuffle(self._joined(self.drawn(drawn), self.drawn(drawn / self.WIDER)), 2)
        # onnxruntime computes 16 channels even if 4 are needed; so compute 2x2 places at once, with the same result
        weight, bias = (self.head.get_parameter(name) for name in ("weight", "bias"))
        # (row and column of the place, 4 pixels of it, channels, 4, 4)
        shifted = torch.stack([F.pad(weight, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)])
        in_rows = shifted.reshape(2, 2, 2, 2, -1, 4, 4).transpose(1, 2).reshape(16, -1, 4, 4)
        biases = bias.reshape(1, 2, 1, 2).expand(2, 2, 2, 2).reshape(16)
        weights, biases = (torch.cat([part, part / self.WIDER]) for part in (in_rows, biases))
        fine, coarse = self.drawn(F.conv2d(features, weights, biases, stride=2, padding=1)).split(16, dim=1)
        mottle = self._joined(fine, coarse)
        return F.pixel_shuffle(mottle, 4) if self.drawn.on else F.conv_transpose2d(mottle, self.shuffle_by_4, stride=4)

    def _joined(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Combine the mottle of both grids: the finer within its range, the coarser beyond."""
        coarse = coarse * self.WIDER
        most = self.FINELY_DRAWN
        return fine.clamp(-most, most) + coarse - coarse.clamp(-most, most)


def build_model(name: str, arguments: Mapping[str, object] | None = None) -> nn.Module:
    """Build a fresh model by name; `arguments`: those stored in its checkpoint."""
    network: type[nn.Module] = globals()[SPECS[name].network]
    return network(**(arguments or {}))
