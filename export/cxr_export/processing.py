"""All steps before and after the network as data, in order, with the numbers used by this package.

A step is identified by `step`; the manifest's schema defines its other keys. Formulas use Python syntax.
"""

from __future__ import annotations

from cxr_infer.imaging import mottle
from cxr_infer.imaging.pixels import FULL_SCALE
from cxr_infer.imaging.tiling import BLIND_SHARE
from cxr_infer.model.card import NOISE_LEVEL, NOISE_LEVEL_FILE, ModelCard
from cxr_infer.untrusted_json import JsonObject

CUBIC_COEFFICIENT = -0.75  # OpenCV's


def before(card: ModelCard) -> list[JsonObject]:
    """Return the steps from the stored pixels of a file to the inputs of the graph."""
    steps: list[JsonObject] = [
        {
            "step": "gray",
            "colour": "only where all channels are equal; then any of them",
            "alpha": "only where all pixels are opaque; then left out",
            "orientation": "as stored",
        },
        {
            "step": "scale",
            "formula": "min(pixel / white, 1)",
            "white": {dtype.name: white for dtype, white in FULL_SCALE.items()},
            "white_of_file": "where its kind promises another: PGM's maximum, 1 for floats, 4095 for 12-bit TIFF",
            "never": "the image's own maximum",
        },
        {
            "step": "invert",
            "where": {"PhotometricInterpretation": "MONOCHROME1"},
            "formula": "1 - value",
            "order": "in DICOM: rescale or modality LUT, VOI LUT or first window in the place of `scale`, then this",
        },
    ]
    return steps + (_resize_before(card.size) if card.size is not None else _windows_before(card))


def after(card: ModelCard) -> list[JsonObject]:
    """Return the steps from the output of the graph to stored pixels."""
    low, high = card.pixel_range
    steps: list[JsonObject] = [_resize_back() if card.size is not None else _blend()]
    if card.size is None:
        steps.append({"step": "crop", "from": "top left", "to": "the image's height and width"})
    steps.append({"step": "clip", "range": [low, high], "in_graph": card.size is None})
    steps.append({"step": "strength", "formula": "image + strength * (denoised - image)", "default": 1.0})
    steps.append({"step": "store", "formula": "clip(rint(value * white), 0, white)", "ties": "to even"})
    return steps


def _resize_before(size: int) -> list[JsonObject]:
    return [{"step": "resize", "height": size, "width": size, **_interpolation()}]


def _resize_back() -> JsonObject:
    return {"step": "resize", "height": "the image's", "width": "the image's", **_interpolation()}


def _interpolation() -> JsonObject:
    return {
        "fewer_pixels": {"interpolation": "area", "opencv": "INTER_AREA"},
        "more_pixels": {"interpolation": "cubic", "coefficient": CUBIC_COEFFICIENT, "opencv": "INTER_CUBIC"},
        "pixel_centres": "half",
        "border": "replicate",
        "equal_size": "left as it is",
    }


def _windows_before(card: ModelCard) -> list[JsonObject]:
    low, high = mottle.BIN_RANGE
    level = {
        "step": "noise_level",
        "input": NOISE_LEVEL,
        "of": "the whole image, before padding; one number for all its windows",
        "high_pass": {
            "taps": [[1, -2, 1], [-2, 4, -2], [1, -2, 1]],
            "divisor": 6,
            "spacing": mottle.TAP_SPACING,
            "border": "mirror without repeating the edge pixel",
        },
        "block": mottle.BLOCK,
        "bins": mottle.BINS,
        "bin_range": [low, high],
        "least_blocks": mottle.MIN_BLOCKS,
        "most_saturated": mottle.MAX_SATURATED,
        "most": mottle.MAX_LEVEL,
        "recipe": card.noise_level_recipe,
        "onnx": NOISE_LEVEL_FILE,
    }
    pad = {"step": "pad", "mode": "symmetric", "edges": ["bottom", "right"], "multiple": card.multiple}
    window = {
        "step": "window",
        "side": card.window,
        "overlap": card.overlap,
        "multiple": card.multiple,
        "most_pixels": (card.window + card.overlap) ** 2,
        "memory_per_pixel": card.memory_per_pixel,
        "along_each_axis": {
            "cells": "ceil(extent / multiple)",
            "shared": "ceil(overlap / multiple)",
            "count": "max(1, ceil((cells - shared) / ceil(side / multiple)))",
            "length": "multiple * min(cells, ceil((cells + (count - 1) * shared) / count))",
            "start": "multiple * floor(index * (cells - length / multiple) / (count - 1))",
        },
        "default": "an image of at most `most_pixels` is one window; any plan with that overlap differs only at seams",
    }
    return [*([level] if card.told_noise_level else []), pad, window]


def _blend() -> JsonObject:
    return {
        "step": "blend",
        "order": "windows of a row from left to right into a band, bands from top to bottom",
        "formula": "canvas + weight * (window - canvas)",
        "position": "(index + 0.5) / shared",
        "blind_share": BLIND_SHARE,
        "rise": "clip((position - blind_share) / (1 - 2 * blind_share), 0, 1)",
        "weight": "rise * rise * (3 - 2 * rise)",
    }
