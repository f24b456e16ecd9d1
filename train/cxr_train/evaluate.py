"""The published comparison on the test split: trained models and simple methods, at several doses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from cxr_infer.imaging.mottle import estimate_mottle, repair_wrapped
from cxr_infer.imaging.pixels import FloatImage, to_bytes, to_unit
from cxr_train.comparison import DenoisingMethod, ImagesByName, NoiseKind, Score, compare, photon_noise
from cxr_train.data import XrayFiles, XrayImages
from cxr_train.models import WHOLE_IMAGE_SIDE, WindowDenoisingAutoencoder
from cxr_train.noise import published_mottle
from cxr_train.quantise import calibrated, quantised

PUBLISHED = "published"  # prefix of the published noise's names
DOSES = (20, 200, 600)  # photons at white, in addition to the published 71


def noises() -> Mapping[str, NoiseKind]:
    """Return the noises of the comparison, in 8-bit steps."""

    def published(clean: FloatImage, rng: np.random.Generator, *, wrap: bool) -> FloatImage:
        return to_unit(published_mottle(to_bytes(clean), rng, wrap=wrap))

    return {
        f"{PUBLISHED}, saturating": NoiseKind(lambda clean, rng: published(clean, rng, wrap=False)),
        f"{PUBLISHED}, wrapping + repair": NoiseKind(
            lambda clean, rng: repair_wrapped(published(clean, rng, wrap=True))
        ),
        **{f"{dose} photons": photon_noise(dose) for dose in DOSES},
        "none (clean image)": NoiseKind(lambda clean, rng: clean),
    }


def model_methods(name: str, model: nn.Module) -> dict[str, DenoisingMethod]:
    """Return a trained model in float32 and, if it has 8-bit grids, as its int8 file computes."""
    methods: dict[str, DenoisingMethod] = {name: _as_method(model)}
    if calibrated(model):
        methods[f"{name}, int8"] = _as_method(model, on_grids=True)
    return methods


def _as_method(model: nn.Module, *, on_grids: bool = False) -> DenoisingMethod:
    def denoise(image: FloatImage, white: float) -> FloatImage:
        noisy = torch.from_numpy(image)[None, None]
        with torch.no_grad(), quantised(model, on=on_grids):
            if isinstance(model, WindowDenoisingAutoencoder):
                level = torch.tensor([estimate_mottle(image).level], dtype=torch.float32)
                return model(noisy, level)[0, 0].numpy()
            return model(noisy)[0, 0].numpy()

    return denoise


def evaluate(files: XrayFiles, methods: Mapping[str, DenoisingMethod], limit: int | None = None) -> Iterator[Score]:
    """Yield the scores of the comparison at 512x512, one by one.

    limit: number of test images, None for all. The noise of an image depends only on its name and the noise's name.
    Raises DataError if there are no test images.
    """
    images = XrayImages(files.require("test"), WHOLE_IMAGE_SIDE)
    yield from compare(ImagesByName(images, limit), noises(), methods)
