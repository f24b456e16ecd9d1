"""Compare results with clean reference images of the same names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import read_content
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.readers import most_bytes, read_radiograph
from cxr_infer.formats.registry import READABLE_SUFFIXES, plain_name
from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.settings import ReadOptions


def find_reference(name: str, reference: Path) -> Path | None:
    """Return the reference of an image: same relative path, perhaps with another suffix; None if there is none."""
    exact = reference / plain_name(name)
    if exact.is_file():
        return exact
    candidates = (exact.with_suffix(suffix) for suffix in sorted(READABLE_SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def require_references(names: Iterable[str], reference: Path) -> None:
    """Raise UsageError if a directory has no reference for any image.

    names: paths of images below the input.
    """
    first = None
    for name in names:
        if find_reference(name, reference) is not None:
            return
        first = first or name
    if first is not None:
        raise UsageError(
            f"{reference}: has no file with the name of an input image, such as {first}; "
            "use the same names in the same folders"
        )


@dataclass(frozen=True)
class ReferenceComparison:
    """Comparison of an image and its result with a reference.

    figures: MSE, PSNR and SSIM before and after; empty if they could not be measured. note: the reason, or notes on the
    reference. clean: the reference, if its shape matches.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    clean: Radiograph | None = None


def compare_with_reference(
    name: str, before: Radiograph | None, result: Radiograph, folder: Path | None, reading: ReadOptions
) -> ReferenceComparison:
    """Compare an image and its result with their reference. folder: of the references; None without references."""
    if folder is None or before is None:
        return ReferenceComparison()
    path = find_reference(name, folder)
    if path is None:
        return ReferenceComparison(note="no reference with that name")
    try:
        content = read_content(path, most_bytes(reading))
        reference = read_radiograph(path, content, reading, path)
    except ImageError as error:
        return ReferenceComparison(note=f"reference: {error}")
    clean = reference.shown()
    if clean.shape != result.pixels.shape:
        (h, w), (height, width) = clean.shape, result.pixels.shape
        return ReferenceComparison(note=f"the reference is {w}x{h}, the image {width}x{height}")
    notes = "; ".join(f"reference: {note}" for note in reference.notes if note not in result.notes)
    figures = {**_quality(clean, before, "_before"), **_quality(clean, result)}
    return ReferenceComparison(figures, notes, reference)


def _quality(clean: FloatImage, image: Radiograph, when: str = "") -> dict[str, float]:
    """Return MSE, PSNR and SSIM of an image, named as in `Figures`."""
    shown = image.shown()
    error = mse(clean, shown)
    return {f"mse{when}": error, f"psnr{when}": psnr_of_mse(error), f"ssim{when}": ssim(clean, shown)}
