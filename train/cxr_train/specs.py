"""The three models, each defined once. A new one is a class in `models`, an entry here and a name in `model.card`.

This module does not load torch, so that the command line can check its arguments first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cxr_train.config import TrainConfig


@dataclass(frozen=True)
class ModelSpec:
    """Definition of a model.

    network: its class in `cxr_train.models`, by name because that module loads torch. purpose: text of its card.
    arguments: default arguments of the constructor. published_mse: on 300 test pairs under the published noise, [0, 1]
    pixels squared. in_windows: whether it is trained on crops and runs in windows; the others see whole images.
    """

    network: str
    purpose: str
    published_mse: float
    arguments: Mapping[str, tuple[int, ...] | int]
    defaults: TrainConfig
    in_windows: bool = False


WHOLE_IMAGE = TrainConfig(
    "original",
    steps=2500,
    batch=8,
    size=512,
    learning_rate=5e-4,
    weight_decay=1e-3,
    ema=0.99,
    validate_every=200,
    validate_images=64,
)

SPECS: dict[str, ModelSpec] = {
    "original": ModelSpec(
        network="DenoisingAutoencoder",
        purpose="published baseline, whole image at 512x512: redraws the broad shapes only, loses all fine detail",
        published_mse=0.009,
        arguments={"encoder": (16, 32, 4), "decoder": (16, 32, 16, 8), "latent": 128},
        defaults=WHOLE_IMAGE,
    ),
    "new": ModelSpec(
        network="NewDenoisingAutoencoder",
        purpose="published baseline, deeper, whole image at 512x512: redraws the broad shapes only, loses all fine "
        "detail",
        published_mse=0.008,
        arguments={"encoder": (16, 32, 32, 4), "decoder": (8, 32, 16, 8), "latent": 256},
        defaults=replace(WHOLE_IMAGE, model="new"),
    ),
    "window": ModelSpec(
        network="WindowDenoisingAutoencoder",
        purpose="the one to use: removes mottle at native resolution in windows; keeps markers, lines and nodules, "
        "the faintest at less contrast",
        published_mse=0.013,
        arguments={"widths": (32, 64, 96, 96), "encoder_blocks": (1, 2, 2, 0), "decoder_blocks": (2, 2, 1)},
        defaults=TrainConfig("window"),
        in_windows=True,
    ),
}
