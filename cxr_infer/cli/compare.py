"""Denoise noisy images with several models, compare them with their clean images, and draw a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from cxr_infer.batch.jobs import require_free, require_other
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import read_content, require_image_file, write_bytes
from cxr_infer.formats.picture import Picture
from cxr_infer.formats.png import encode_png
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.readers import most_bytes, read_radiograph
from cxr_infer.formats.resolution import INCH, Resolution
from cxr_infer.imaging.figure import BASE_DPI, DARK, LIGHT, Panel, Sheet, describe, draw_sheet, lay_out, most_detailed
from cxr_infer.imaging.figure_files import to_pdf, to_svg
from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.pixels import FloatImage, from_unit, to_unit
from cxr_infer.model.denoiser import Model, load_model
from cxr_infer.model.installed import AUTO
from cxr_infer.settings import ReadOptions, Settings

FORMS = (".png", ".pdf", ".svg")
LEAST_DPI, MOST_DPI = 30, 1200
MOST_TITLE = 34  # characters that fit above a panel


@dataclass(frozen=True)
class Row:
    """Quality of an image against the clean one of its pair. pair: title of the pair. mse: on [0, 1]. psnr: dB."""

    pair: str
    name: str
    mse: float
    psnr: float
    ssim: float


@dataclass(frozen=True)
class FigureLook:
    """Look of a figure. light: dark text on white. crop: (x, y, width, height) in px of the images; None: all.

    Raises UsageError for a resolution out of range.
    """

    dpi: int = BASE_DPI
    light: bool = False
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if not LEAST_DPI <= self.dpi <= MOST_DPI:
            raise UsageError(f"dpi {self.dpi} is outside {LEAST_DPI}..{MOST_DPI}")


def parse_crop(text: str) -> tuple[int, int, int, int]:
    """Parse `X,Y,WIDTH,HEIGHT` in px. Raises UsageError if it is invalid or empty."""
    numbers = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(numbers) != 4 or text.count(",") != 3 or 0 in numbers[2:]:
        raise UsageError(f"crop {text!r} is invalid; give X,Y,WIDTH,HEIGHT in px, such as 100,80,256,256")
    x, y, width, height = numbers
    return x, y, width, height


@dataclass(frozen=True)
class _Pair:
    """A pair, and its noisy image denoised by each model. name: of the noisy file."""

    name: str
    title: str
    clean: FloatImage
    images: tuple[tuple[str, FloatImage], ...]  # noisy first


def compare_files(
    pairs: Sequence[tuple[Path, Path]],
    out: Path,
    reading: ReadOptions | None = None,
    *,
    models: Sequence[str] = ("window",),
    precision: str = AUTO,
    look: FigureLook | None = None,
    repair_wrapped: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
) -> tuple[list[Row], list[str]]:
    """Denoise the noisy image of each pair with every model, write a figure to `out`, and return rows and notes.

    pairs: (clean, noisy), one row of the figure each. models, precision: arguments of `load_model`. Rows begin with the
    noisy image of each pair; they measure whole images, even if the figure shows a crop.
    Raises UsageError if `out` exists, is one of the images or has an unsupported suffix, or if the crop is outside an
    image; ImageError if an image cannot be read or the sizes of a pair differ.
    """
    look, reading = look or FigureLook(), reading or ReadOptions()
    if out.suffix.lower() not in FORMS:
        raise UsageError(f"{out}: the figure is a PNG, PDF or SVG; give --out a name that ends in {', '.join(FORMS)}")
    for clean, noisy in pairs:
        for path in (clean, noisy):
            require_image_file(path)
        require_other(out, "--out", CLEAN=clean, NOISY=noisy)
    require_free(out, overwrite, "another --out")
    loaded = {name: load_model(name, precision=precision, threads=threads) for name in models}
    read = [(path, _read(path, reading)) for path in chain.from_iterable(pairs)]
    settings = Settings(repair_wrapped=repair_wrapped)
    done = [_denoised(clean, noisy, loaded, settings) for clean, noisy in zip(read[::2], read[1::2], strict=True)]
    sheet = _sheet(done, look)
    write_bytes(out, (_encoded(sheet, out.suffix.lower(), look.dpi),))
    notes = [f"{path}: {note}" for path, radiograph in read for note in radiograph.notes]
    return [_row(pair, name, image) for pair in done for name, image in pair.images], notes


def _read(path: Path, reading: ReadOptions) -> Radiograph:
    return read_radiograph(path, read_content(path, most_bytes(reading)), reading, path)


def _denoised(
    clean_file: tuple[Path, Radiograph],
    noisy_file: tuple[Path, Radiograph],
    models: Mapping[str, Model],
    settings: Settings,
) -> _Pair:
    """Denoise a pair with all models; results are rounded to 16 bits, as in files."""
    (clean_path, clean_radiograph), (noisy_path, noisy_radiograph) = clean_file, noisy_file
    clean, noisy = clean_radiograph.unit(), noisy_radiograph.unit()
    if clean.shape != noisy.shape:
        raise ImageError(
            f"{noisy_path}: is {_size(noisy)}, but {clean_path} is {_size(clean)}; both must have the same size"
        )
    images = tuple((name, _stored(model.denoise_unit(noisy, settings))) for name, model in models.items())
    return _Pair(str(noisy_path), f"{noisy_path} against {clean_path}", clean, (("noisy", noisy), *images))


def _stored(image: FloatImage) -> FloatImage:
    return to_unit(from_unit(image, np.dtype(np.uint16)))


def _sheet(pairs: Sequence[_Pair], look: FigureLook) -> Sheet:
    """Lay out one row per pair: noisy, results, clean."""
    rows = [_panels(pair, look.crop, named=len(pairs) > 1) for pair in pairs]
    centres = [most_detailed(pair.clean) if look.crop is None else None for pair in pairs]
    return lay_out(rows, centres, ground=LIGHT if look.light else DARK)


def _panels(pair: _Pair, crop: tuple[int, int, int, int] | None, *, named: bool) -> list[Panel]:
    place = _place(pair, crop)
    panels = [Panel(_shortened(name), image[place], describe(pair.clean, image)) for name, image in pair.images]
    if named:
        first = panels[0]
        panels[0] = Panel(_shortened(f"{first.title}: {Path(pair.name).name}"), first.image, first.lines)
    return [*panels, Panel("clean", pair.clean[place])]


def _place(pair: _Pair, crop: tuple[int, int, int, int] | None) -> tuple[slice, slice]:
    """Return the part of a pair's images to show. Raises UsageError if the crop is outside them."""
    if crop is None:
        return slice(None), slice(None)
    x, y, width, height = crop
    rows, columns = pair.clean.shape
    if x + width > columns or y + height > rows:
        raise UsageError(f"{pair.name}: crop {x},{y},{width},{height} is not inside its {columns}x{rows} px")
    return slice(y, y + height), slice(x, x + width)


def _shortened(title: str) -> str:
    """Shorten a title in the middle, which keeps the start and the number of a file name."""
    if len(title) <= MOST_TITLE:
        return title
    half = (MOST_TITLE - 1) // 2
    return f"{title[:half]}…{title[-half:]}"


def _encoded(sheet: Sheet, form: str, dpi: int) -> bytes:
    if form == ".svg":
        return to_svg(sheet, dpi)
    if form == ".pdf":
        return to_pdf(sheet, dpi)
    return encode_png(Picture(draw_sheet(sheet, dpi), resolution=Resolution(Fraction(dpi), Fraction(dpi), INCH)))


def _row(pair: _Pair, name: str, image: FloatImage) -> Row:
    error = mse(pair.clean, image)
    return Row(pair.title, name, error, psnr_of_mse(error), ssim(pair.clean, image))


def _size(image: FloatImage) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
