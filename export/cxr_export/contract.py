"""The part of a card file for other programs: tensors, and the steps before and after the network."""

from __future__ import annotations

from cxr_export.cases import FOLDER, IMAGE, image_of_case
from cxr_export.processing import after, before
from cxr_infer.imaging.mottle import MAX_LEVEL, recipe_level
from cxr_infer.model.card import DENOISED, NOISE_LEVEL, NOISE_LEVEL_FILE, NOISY, ModelCard
from cxr_infer.untrusted_json import JsonObject


def contract(card: ModelCard) -> JsonObject:
    """Return names, axes and types of the tensors, all steps before and after the network, and a noise level to
    reproduce.
    """
    told = {"noise_level_example": _example()} if card.told_noise_level else {}
    return {
        "inputs": inputs(card),
        "outputs": outputs(card),
        "before": before(card),
        "after": after(card),
        **told,
    }


def _example() -> JsonObject:
    """image: path relative to the card. noise_level_file: the same for the ONNX file that estimates the level."""
    level = recipe_level(image_of_case())
    return {"image": f"{FOLDER}/{IMAGE}.npy", "noise_level": level, "noise_level_file": f"../{NOISE_LEVEL_FILE}"}


def inputs(card: ModelCard) -> list[JsonObject]:
    """Return the inputs of the graph, in order."""
    found = [_image(card, NOISY, "gray X-rays, black 0, bone white 1; windows of one image or several images")]
    return [*found, noise_level()] if card.told_noise_level else found


def outputs(card: ModelCard) -> list[JsonObject]:
    return [_image(card, DENOISED, "the same image without its mottle")]


def noise_level() -> JsonObject:
    meaning = "standard deviation of sqrt(pixel), one number for each image of the batch"
    return tensor(NOISE_LEVEL, meaning, [axis("batch")], (0.0, MAX_LEVEL))


def _image(card: ModelCard, name: str, meaning: str) -> JsonObject:
    sides = [axis(side, card.size, card.multiple) for side in ("height", "width")]
    return tensor(name, meaning, [axis("batch"), axis("channel", 1), *sides], card.pixel_range)


def tensor(name: str, meaning: str, axes: list[JsonObject], value_range: tuple[float, float]) -> JsonObject:
    return {"name": name, "meaning": meaning, "dtype": "float32", "range": list(value_range), "axes": axes}


def axis(name: str, size: int | None = None, multiple: int = 1, minimum: int | None = None) -> JsonObject:
    """size: None if free: any multiple of `multiple` from `minimum` (by default `multiple`) up."""
    if size is not None:
        return {"name": name, "size": size}
    return {"name": name, "size": None, "multiple_of": multiple, "minimum": minimum or multiple}
