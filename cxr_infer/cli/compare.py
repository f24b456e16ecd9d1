"""One clean and one noisy image through every installed model: the figures and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_infer.batch.jobs import require_free, require_other
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import read_content, require_image_file
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.readers import most_bytes, read_radiograph, write_image
from cxr_infer.imaging.figure import Panel, describe, draw_figure
from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.pixels import from_unit, to_unit
from cxr_infer.model.card import MODEL_NAMES
from cxr_infer.model.denoiser import load_model
from cxr_infer.settings import ReadOptions, Settings


@dataclass(frozen=True)
class Row:
    """How close one image is to the clean one: PSNR in dB, MSE on [0, 1]."""

    name: str
    mse: float
    psnr: float
    ssim: float


def compare_files(
    clean_path: Path,
    noisy_path: Path,
    out: Path,
    reading: ReadOptions | None = None,
    *,
    repair_wrapped: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
) -> tuple[list[Row], list[str]]:
    """Denoise NOISY with every model, write the figure to `out`, return the figures and notes.

    The noisy image's figures come first. reading: how both files are read.
    Raises UsageError where `out` exists, is one of the two or is no picture, ImageError where the images cannot be read
    or differ in size.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out}: the figure is a PNG; give --out a name that ends in .png")
    for path in (clean_path, noisy_path):
        require_image_file(path)
    require_other(out, "--out", CLEAN=clean_path, NOISY=noisy_path)
    require_free(out, overwrite, "another --out")
    read = [_read(path, reading or ReadOptions()) for path in (clean_path, noisy_path)]
    clean, noisy = (radiograph.unit() for radiograph in read)
    if clean.shape != noisy.shape:
        raise ImageError(
            f"{noisy_path}: is {_size(noisy)}, but {clean_path} is {_size(clean)}; give a pair of one size"
        )
    images = [("noisy", noisy)]
    for name in MODEL_NAMES:
        settings = Settings(repair_wrapped=repair_wrapped)
        denoised = load_model(name, threads=threads).denoise_unit(noisy, settings)
        images.append((name, to_unit(from_unit(denoised, np.dtype(np.uint16)))))
    panels = [Panel("clean", clean)] + [Panel(name, image, describe(clean, image)) for name, image in images]
    write_image(out, draw_figure(panels))
    notes = [
        f"{path}: {note}"
        for path, radiograph in zip((clean_path, noisy_path), read, strict=True)
        for note in radiograph.notes
    ]
    return [_row(name, clean, image) for name, image in images], notes


def _read(path: Path, reading: ReadOptions) -> Radiograph:
    return read_radiograph(path, read_content(path, most_bytes(reading)), reading, path)


def _row(name: str, clean: NDArray[np.float32], image: NDArray[np.float32]) -> Row:
    error = mse(clean, image)
    return Row(name, error, psnr_of_mse(error), ssim(clean, image))


def _size(image: NDArray[np.float32]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
