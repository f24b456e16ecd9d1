"""Initialise the whole-image models from principal components instead of at random.

A whole-image autoencoder on a few hundred X-rays spends its training finding what a linear method computes at once. So
one channel of every layer is set by hand: the encoder's passes local means down, its fully-connected layer is a ridge
regression to the scores of the principal components of the clean images (at 64x64, in logits), the decoder's draws
these components, and its transposed convolutions enlarge them. Everything else keeps its random start, and training
continues from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr_train.models import WHOLE_IMAGE_SIDE, Decoder, Encoder
from cxr_train.samples import Batch, WholeImageSamples

COMPONENT_SIDE = 64  # px, of the principal components
MARGIN = 0.04  # pixels are kept this far from 0 and 1 before the logit
LOGIT_SPAN = 8.0  # a plane of the decoder holds logit / span + 1/2, which is positive and passes any ReLU
RIDGE = 3e-3  # relative to the regression's mean squared feature
FIRST_STEP = 1 << 40  # so that these batches differ from those of training
OTHERS_SHARE = 0.1  # factor on the random start of the other channels of the last layer
MOST_DRAWS = 2500  # limits memory and time on large data sets
BOX = 3  # px, side of the local mean


def warm_start(encoder: nn.Module, decoder: nn.Module, samples: WholeImageSamples) -> None:
    """Set the first channel of every layer, and the fully-connected layers, in place. Raises TypeError for other
    models.
    """
    if not isinstance(encoder, Encoder) or not isinstance(decoder, Decoder):
        raise TypeError("only the whole-image models start from principal components")
    features, planes = _gather(samples, stages=len(encoder.convolutions))
    fit = _fit(features, planes, encoder.to_code.out_features)
    with torch.no_grad():
        for convolution in encoder.convolutions:
            if isinstance(convolution, nn.Conv2d):
                _isolate(convolution)
                convolution.weight[0, 0] = 1 / BOX**2
        encoder.to_code.weight.zero_()
        encoder.to_code.weight[:, : features.shape[1]] = torch.from_numpy(fit.encode)
        encoder.to_code.bias.copy_(torch.from_numpy(fit.encode_bias))
        _set_decoder(decoder, fit)


@dataclass(frozen=True)
class Fit:
    """Linear maps between features, code and component planes, float32."""

    encode: NDArray[np.float32]  # (latent, features)
    encode_bias: NDArray[np.float32]  # (latent,)
    decode: NDArray[np.float32]  # (planes, latent)
    decode_bias: NDArray[np.float32]  # (planes,)


def _gather(samples: WholeImageSamples, stages: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the encoder's first channel sees of noisy images, and the clean planes: (N, pixels) each."""
    features, planes = [], []
    draws = min(samples.config.warm_start_draws * len(samples.images), MOST_DRAWS)
    batches = -(-draws // samples.config.batch)
    for index in range(batches):
        batch: Batch = samples.batch(FIRST_STEP + index)
        x = batch.noisy
        box = torch.full((1, 1, BOX, BOX), 1 / BOX**2)
        for _ in range(stages):
            x = F.max_pool2d(F.conv2d(x, box, padding=BOX // 2), 2)
        clean = F.avg_pool2d(batch.clean, WHOLE_IMAGE_SIDE // COMPONENT_SIDE)
        features.append(x.flatten(1).numpy())
        planes.append((torch.logit(MARGIN + (1 - 2 * MARGIN) * clean) / LOGIT_SPAN + 0.5).flatten(1).numpy())
    return np.concatenate(features).astype(np.float64), np.concatenate(planes).astype(np.float64)


def _fit(features: NDArray[np.float64], planes: NDArray[np.float64], latent: int) -> Fit:
    mean_plane, mean_feature = planes.mean(0), features.mean(0)
    centred = features - mean_feature
    _, _, components = np.linalg.svd(planes - mean_plane, full_matrices=False)
    components = components[:latent]  # (latent, planes)
    scores = (planes - mean_plane) @ components.T  # (N, latent)
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram) * len(gram) ** 0.5
    encode = np.linalg.solve(gram, centred.T @ scores).T
    scale = scores.std(0).mean()  # a code of about unit variance suits the optimizer
    return Fit(
        (encode / scale).astype(np.float32),
        (-(encode @ mean_feature) / scale).astype(np.float32),
        (components.T * scale).astype(np.float32),
        mean_plane.astype(np.float32),
    )


def _isolate(layer: nn.Conv2d | nn.ConvTranspose2d, outputs: int = 1) -> None:
    """Zero all weights that lead to the first `outputs` channels of a layer."""
    if isinstance(layer, nn.ConvTranspose2d):
        layer.weight[:, :outputs] = 0
    else:
        layer.weight[:outputs] = 0
    _bias(layer)[:outputs] = 0


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    if layer.bias is None:
        raise ValueError(f"{layer} has no bias")
    return layer.bias


def _set_decoder(decoder: Decoder, fit: Fit) -> None:
    """Draw the components: from sub-pixel channels to one plane of 64x64 by depth-to-space, then bilinear."""
    folds = (COMPONENT_SIDE // decoder.side).bit_length() - 1
    order = _space_to_depth(torch.arange(COMPONENT_SIDE**2).reshape(1, 1, COMPONENT_SIDE, COMPONENT_SIDE), folds)
    used = order.numel()
    decoder.from_code.weight[:used] = torch.from_numpy(fit.decode)[order.flatten()]
    decoder.from_code.bias[:used] = torch.from_numpy(fit.decode_bias)[order.flatten()]
    layers = [layer for layer in decoder.transposed if isinstance(layer, nn.ConvTranspose2d)]
    for index, layer in enumerate(layers):
        if index < folds:
            outputs = 4 ** (folds - index - 1)
            _isolate(layer, outputs)
            for channel in range(outputs):
                for sub in range(4):
                    layer.weight[4 * channel + sub, channel, 1 + sub // 2, 1 + sub % 2] = 1
        else:
            _isolate(layer)
            taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
            layer.weight[0, 0] = torch.outer(taps, taps)
    last = layers[-1]
    last.weight[:1] *= LOGIT_SPAN
    last.weight[1:] *= OTHERS_SHARE
    torch.nn.init.constant_(_bias(last), -LOGIT_SPAN / 2)


def _space_to_depth(plane: Tensor, times: int) -> Tensor:
    """(1, C, H, W) -> (1, 4^times C, H / 2^times, W / 2^times), as `nn.functional.pixel_unshuffle` orders them."""
    for _ in range(times):
        plane = F.pixel_unshuffle(plane, 2)
    return plane
