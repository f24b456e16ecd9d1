"""Convert a checkpoint to an ONNX model in memory: opset 18, one file, free batch, no traces of the exporting
machine.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import replace
from typing import Any

import onnx
import torch
from torch import nn

from cxr_export.int8 import store_integers
from cxr_infer.model.card import (
    CITATION,
    DENOISED,
    INT8,
    METADATA_KEY,
    NOISE_LEVEL,
    NOISE_LEVEL_RECIPE,
    NOISY,
    RESEARCH_USE,
    ModelCard,
)
from cxr_train.checkpoint import CheckpointInfo
from cxr_train.models import WHOLE_IMAGE_SIDE, WindowDenoisingAutoencoder
from cxr_train.quantise import quantised
from cxr_train.specs import SPECS

OPSET = 18
EXAMPLE_SIDE = 64  # px, of the traced window; height and width stay free

# Windows of this many px on a side plus the overlap: what fits goes through the network whole. The least overlap was
# chosen by the difference to whole-image inference at 20 photons: in float32 0.5 gray levels of 255 at most with 128
# px; in int8 one pixel in a thousand is off by more than 2 with less than 160 px, in windows of 64 px and what they
# share.
WINDOW, OVERLAP = 1024, 176
INT8_MEMORY_PER_PIXEL = 75  # bytes, as in ModelCard: 63 were measured, 212 in float32


def to_onnx(model: nn.Module, info: CheckpointInfo) -> tuple[onnx.ModelProto, ModelCard]:
    """Export a model in evaluation mode and describe it. The card is also in the model's metadata."""
    card = _describe(model, info)
    return _carrying(card, _trace(model)), card


def to_int8_onnx(model: nn.Module, info: CheckpointInfo) -> tuple[onnx.ModelProto, ModelCard]:
    """Export on the model's 8-bit grids, as pairs of QuantizeLinear and DequantizeLinear (QDQ)."""
    with quantised(model):
        exported = _trace(model)
    store_integers(exported.graph)
    card = replace(_describe(model, info), precision=INT8, memory_per_pixel=INT8_MEMORY_PER_PIXEL)
    return _carrying(card, exported), card


def _carrying(card: ModelCard, exported: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's notes from the graph and add the card to its metadata."""
    _scrub(exported)
    entry = exported.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_metadata()
    for key, value in (("purpose", card.purpose), ("limits", RESEARCH_USE), ("citation", CITATION)):
        entry = exported.metadata_props.add()
        entry.key, entry.value = key, value
    return exported


def _trace(model: nn.Module) -> onnx.ModelProto:
    arguments: tuple[torch.Tensor, ...]
    shapes: dict[str, Any]
    batch = torch.export.Dim("batch")
    if isinstance(model, WindowDenoisingAutoencoder):
        side, multiple = EXAMPLE_SIDE, model.STRIDE
        arguments = (torch.rand(2, 1, side, 2 * side), torch.full((2,), 0.05))
        free = {0: batch, 2: multiple * torch.export.Dim("rows"), 3: multiple * torch.export.Dim("columns")}
        shapes = {NOISY: free, NOISE_LEVEL: {0: batch}}
    else:
        arguments = (torch.rand(2, 1, WHOLE_IMAGE_SIDE, WHOLE_IMAGE_SIDE),)
        shapes = {NOISY: {0: batch}}
    with _quiet():
        program = torch.onnx.export(
            model,
            arguments,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=list(shapes),
            output_names=[DENOISED],
            dynamic_shapes=shapes,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Any:
    """Silence the exporter's progress and torch's deprecation warnings, which do not concern the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _scrub(exported: onnx.ModelProto) -> None:
    """Remove stack traces and other notes of the exporter, which contain absolute paths and differ between runs."""
    graph = exported.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    exported.ClearField("metadata_props")
    exported.ClearField("doc_string")
    del exported.functions[:]


def _describe(model: nn.Module, info: CheckpointInfo) -> ModelCard:
    windowed = isinstance(model, WindowDenoisingAutoencoder)
    common: dict[str, Any] = {
        "name": info.model,
        "purpose": SPECS[info.model].purpose,
        "opset": OPSET,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training": info.training,
        "data": info.data,
        "metrics": info.metrics,
        "code_version": info.code_version,
    }
    if not windowed:
        return ModelCard(size=WHOLE_IMAGE_SIDE, window=WHOLE_IMAGE_SIDE, overlap=0, **common)
    return ModelCard(
        multiple=WindowDenoisingAutoencoder.STRIDE,
        window=WINDOW,
        overlap=OVERLAP,
        told_noise_level=True,
        noise_level_recipe=NOISE_LEVEL_RECIPE,
        **common,
    )
