"""Compare torch with onnxruntime on several batch sizes and shapes, to verify an export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from cxr_infer.errors import ModelError
from cxr_infer.imaging.metrics import largest_difference
from cxr_infer.imaging.mottle import poisson_mottle, to_square_root_level
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.model.card import DENOISED, FP32, TOLERANCES, ModelCard
from cxr_infer.model.hardware import available_cpus
from cxr_infer.model.session import open_session

TOLERANCE = TOLERANCES[FP32]
SEED = 7
FREE_SHAPES = ((1, 64, 64), (3, 64, 64), (2, 128, 80), (1, 16, 16), (1, 272, 304))  # batch, height, width
FIXED_BATCHES = (1, 2, 3)
DOSES = (20.0, 71.0, 600.0)  # photons at white


@dataclass(frozen=True)
class Parity:
    """The result: largest difference, infinite if a value is not finite, and number of cases.

    tolerance: largest acceptable difference; both absolute, or both relative to the value.
    """

    largest: float
    cases: int
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        return self.largest <= self.tolerance


def check_parity(model: nn.Module, exported: onnx.ModelProto, card: ModelCard) -> Parity:
    """Check the graph and run both on noisy phantoms, on black and on white. Raises ModelError for an invalid graph."""
    try:
        onnx.checker.check_model(exported, full_check=True)
        session = open_session(exported.SerializeToString(), Path(card.name), available_cpus())
    except Exception as error:
        raise ModelError(
            f"{card.name}: the exported graph is invalid: {str(error).splitlines()[0]}; the old file was kept"
        ) from error
    largest, cases = 0.0, 0
    for feed in _cases(card):
        (ours,) = session.run([DENOISED], feed)
        with torch.no_grad():
            theirs = model(*(torch.from_numpy(value) for value in feed.values())).numpy()
        if ours.shape != theirs.shape:
            raise ModelError(
                f"{card.name}: onnxruntime returned shape {ours.shape}, torch {theirs.shape}; the old file was kept"
            )
        largest = max(largest, largest_difference(ours, theirs))
        cases += 1
    return Parity(largest, cases)


def _cases(card: ModelCard) -> Iterator[dict[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(SEED)
    shapes = [(batch, card.size, card.size) for batch in FIXED_BATCHES] if card.size is not None else FREE_SHAPES
    clean = render_phantom(SEED, card.size or max(max(shape) for shape in FREE_SHAPES))
    for batch, height, width in shapes:
        doses = [DOSES[i % len(DOSES)] for i in range(batch)]
        crops = np.stack([poisson_mottle(clean[:height, :width], dose, rng) for dose in doses])
        yield card.feed(np.minimum(crops, 1)[:, None], to_square_root_level(doses))
    batch, height, width = shapes[0]
    for value in (0.0, 1.0):
        yield card.feed(np.full((batch, 1, height, width), value), 0.0)
