"""The library: what the commands do, as functions. `cxr_infer` says what is public, and takes it from here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields as fields_of
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_infer.batch import pipeline
from cxr_infer.batch.directory import plan_directory
from cxr_infer.batch.engine import Engine, denoise_files
from cxr_infer.batch.jobs import jobs_of_files, single_job
from cxr_infer.batch.sample import Samples as Samples  # public, as the next one
from cxr_infer.batch.sample import write_samples as sample  # noqa: F401
from cxr_infer.errors import ImageError
from cxr_infer.formats.picture import Picture
from cxr_infer.imaging import metrics
from cxr_infer.imaging.arrays import gray_array
from cxr_infer.imaging.mottle import Mottle, estimate_mottle
from cxr_infer.imaging.pixels import low_range
from cxr_infer.model.card import MODEL_NAMES
from cxr_infer.model.denoiser import Model, load_model
from cxr_infer.model.installed import AUTO
from cxr_infer.report.results import FileResult
from cxr_infer.report.results import Summary as Summary  # public
from cxr_infer.settings import ReadOptions, Settings


class Fields(TypedDict, total=False):
    """The fields of `Settings` and `ReadOptions`, which functions take as keywords too."""

    strength: float
    window: int | None
    overlap: int | None
    repair_wrapped: bool
    memory: int
    compress: str
    max_pixels: int
    white: int | None
    invert: bool


def denoise(
    image: ArrayLike,
    model: Model | str | Path = "window",
    *,
    settings: Settings | None = None,
    read: ReadOptions | None = None,
    precision: str = AUTO,
    **fields: Unpack[Fields],
) -> NDArray[np.generic]:
    """Remove the mottle of one X-ray.

    Warns where uint16 values use half of their range or less and no `white` is given, as the model would see them dark.

    Args:
        image: (H, W) uint8, uint16, or floating point in [0, 1], of any byte order; black 0, bone white. A list, a
            tensor on the CPU or a gray Pillow image will do too.
        model: A loaded model, or what `load_model` takes. A shipped model that is given by name is loaded once.
        settings: How to denoise. None: the defaults.
        read: What the pixel values mean. None: the defaults.
        precision: Of a model given by name, see `load_model`.
        **fields: Single fields of `Settings` and `ReadOptions` by name, such as `strength=0.5` or `white=4095`; they
            replace those of `settings` and `read`.

    Returns:
        Array of the same shape and dtype.

    Raises:
        ImageError: The image is no gray array of these types.
        ModelError: The model cannot be loaded, or fails on the image.
        UsageError: A setting is out of range.
        TypeError: There is no field of that name.

    Examples:
        >>> noisy = np.zeros((64, 64), np.uint8)
        >>> denoise(noisy, strength=0.8).dtype
        dtype('uint8')
    """
    chosen, reading = _options(settings, read, fields)
    pixels, dtype = gray_array(image)
    loaded = _loaded(model, precision)
    if pixels.dtype == np.uint16 and reading.white is None and (note := low_range(pixels)):
        warnings.warn(note.replace("--white ", "white="), stacklevel=2)
    picture = _picture(pixels, reading)
    return picture.restored(loaded.denoise_unit(picture.unit(), chosen)).pixels.astype(dtype)


def denoise_file(
    source: str | Path,
    target: str | Path | None = None,
    model: Model | str | Path = "window",
    *,
    settings: Settings | None = None,
    read: ReadOptions | None = None,
    precision: str = AUTO,
    overwrite: bool = False,
    **fields: Unpack[Fields],
) -> FileResult:
    """Denoise one file, as `cxr-infer file` does. The source is only read; the result is complete or absent.

    Args:
        source: An X-ray of any format that is read.
        target: The result: .png, .tif, ... or, of DICOM, .dcm. None: NAME-denoised beside the source.
        model: As for `denoise`.
        settings: As for `denoise`.
        read: How files are read. None: the defaults.
        precision: As for `denoise`.
        overwrite: Replace what is at `target`.
        **fields: As for `denoise`.

    Returns:
        What became of it: its figures, and in `message` what to know about it.

    Raises:
        ImageError: The file cannot be read, denoised or written.
        ModelError: The model cannot be loaded, or fails on the image.
        UsageError: A path or setting makes no sense, or `target` exists.
        TypeError: There is no field of that name.
    """
    chosen, reading = _options(settings, read, fields)
    original = Path(source)
    if target is None:
        (job,) = jobs_of_files([original], None, overwrite=overwrite)
    else:
        job = single_job(original, Path(target), overwrite=overwrite)
    return pipeline.denoise_file(job, _loaded(model, precision), chosen, reading)


def denoise_directory(
    source: str | Path,
    out: str | Path | None = None,
    model: Model | str | Path = "window",
    *,
    settings: Settings | None = None,
    read: ReadOptions | None = None,
    precision: str = AUTO,
    reference: str | Path | None = None,
    overwrite: bool = False,
    follow_links: bool = False,
    shard: str | None = None,
    engine: Engine | None = None,
    stopped: Callable[[], bool] = lambda: False,
    **fields: Unpack[Fields],
) -> Iterator[FileResult]:
    """Denoise a directory or bucket, as `cxr-infer dir` does. Originals are only read, and finished files are skipped.

    Nothing is denoised before the first result is asked for; the work goes on while results are taken. `Summary` adds
    them up.

    Args:
        source: Directory, or URL such as s3://bucket/folder.
        out: Where results go, in the same tree. None: IN-denoised.
        model: As for `denoise`.
        settings: As for `denoise`.
        read: How files are read, references too. None: the defaults.
        precision: As for `denoise`.
        reference: Directory of clean images under the same names, against which results are measured.
        overwrite: Do all again, and replace what is in the place of a result.
        follow_links: Also read files outside `source` to which links in it lead.
        shard: `I/N`: share I of N only.
        engine: What does the work. None: this process.
        stopped: Asked before each image; once it returns true, what was begun is finished and the rest is `pending`.
        **fields: As for `denoise`.

    Returns:
        What became of each file, one result for each. A bad file is a result with status `failed`, not an exception.

    Raises:
        UsageError: A path or setting makes no sense, or `source` holds no image; when it is called. While results are
            taken: `out` cannot be used.
        ModelError: The model cannot be loaded.
        TypeError: There is no field of that name.
    """
    chosen, reading = _options(settings, read, fields)
    clean = None if reference is None else Path(reference)
    target = None if out is None else str(out)
    plan = plan_directory(str(source), target, reference=clean, follow_links=follow_links, shard=shard)
    loaded = _loaded(model, precision)
    loaded.check(chosen)
    return denoise_files(
        plan, loaded, chosen, reading, reference=clean, overwrite=overwrite, stopped=stopped, engine=engine
    )


def estimate_noise(image: ArrayLike, *, read: ReadOptions | None = None, **fields: Unpack[Fields]) -> Mottle:
    """Estimate the noise of one X-ray from the image alone.

    Args:
        image: As for `denoise`.
        read: As for `denoise`.
        **fields: As for `denoise`; only those of `ReadOptions` matter.

    Returns:
        The estimate: `sd` in [0, 1], `gray_levels`, `photons_at_white`, `kind`, `correlation`, and whether it is
        `sure`.

    Raises:
        ImageError: The image is no gray array of these types.
    """
    _, reading = _options(None, read, fields)
    return estimate_mottle(_picture(gray_array(image)[0], reading).gray())


def mse(clean: ArrayLike, image: ArrayLike, *, white: int | None = None) -> float:
    """Mean squared error of an image against a clean one, both scaled to [0, 1].

    Args:
        clean: As for `denoise`.
        image: As for `denoise`, of the same shape; it may have another dtype.
        white: Value that means white in uint16.

    Raises:
        ImageError: One is no gray array, or their shapes differ.
    """
    return metrics.mse(*_unit_pair(clean, image, white))


def psnr(clean: ArrayLike, image: ArrayLike, *, white: int | None = None) -> float:
    """Peak signal-to-noise ratio in dB; equal images give 120. Arguments and errors as for `mse`."""
    return metrics.psnr(*_unit_pair(clean, image, white))


def ssim(clean: ArrayLike, image: ArrayLike, *, white: int | None = None) -> float:
    """Structural similarity (Wang et al. 2004), Gaussian window of 1.5 px. Arguments and errors as for `mse`."""
    return metrics.ssim(*_unit_pair(clean, image, white))


def _unit_pair(clean: ArrayLike, image: ArrayLike, white: int | None) -> tuple[NDArray[np.float32], ...]:
    reading = ReadOptions(white=white)
    pair = tuple(_picture(gray_array(one)[0], reading).unit() for one in (clean, image))
    if pair[0].shape != pair[1].shape:
        raise ImageError(
            f"the image is {pair[1].shape}, its clean reference {pair[0].shape}; both must have the same shape"
        )
    return pair


def _picture(pixels: NDArray[Any], reading: ReadOptions) -> Picture:
    return Picture(pixels, white=reading.white if pixels.dtype == np.uint16 else None, inverted=reading.invert)


def _options(settings: Settings | None, read: ReadOptions | None, fields: Fields) -> tuple[Settings, ReadOptions]:
    """Settings and reading with the fields that are given singly. Raises TypeError for a field of neither."""
    given: dict[str, Any] = dict(fields)
    names = {one: {field.name for field in fields_of(one)} for one in (Settings, ReadOptions)}
    known = names[Settings] | names[ReadOptions]
    for wrong in given.keys() - known:
        like = get_close_matches(wrong, known, 1)
        way_out = f"did you mean {like[0]!r}?" if like else f"the fields are {', '.join(sorted(known))}"
        raise TypeError(f"unknown keyword {wrong!r}; {way_out}")
    return (
        replace(settings or Settings(), **{name: given[name] for name in names[Settings] & given.keys()}),
        replace(read or ReadOptions(), **{name: given[name] for name in names[ReadOptions] & given.keys()}),
    )


def _loaded(model: Model | str | Path, precision: str) -> Model:
    if isinstance(model, Model):
        return model
    return _shipped(model, precision) if model in MODEL_NAMES else load_model(model, precision=precision)


@lru_cache(maxsize=2 * len(MODEL_NAMES))
def _shipped(name: str, precision: str) -> Model:
    return load_model(name, precision=precision)
