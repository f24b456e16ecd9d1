"""The library: the commands as functions. `cxr_infer` defines which names are public, and re-exports them."""

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
from cxr_infer.batch.sample import Samples as Samples  # public, as is the next
from cxr_infer.batch.sample import write_samples as sample  # noqa: F401
from cxr_infer.errors import ImageError, UsageError
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
    """The fields of `Settings` and `ReadOptions`, accepted as keywords."""

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

    Warns if uint16 values use at most half of their range and `white` is not given, as the model would see them dark.

    Args:
        image: (H, W) uint8, uint16, or floating point in [0, 1], any byte order; black is 0, bone is white. Lists, CPU
            tensors and gray Pillow images are accepted too.
        model: A loaded model, or an argument for `load_model`. Shipped models given by name are loaded only once.
        settings: How to denoise. None: the defaults.
        read: How pixel values are interpreted. None: the defaults.
        precision: Precision of a model given by name; see `load_model`.
        **fields: Fields of `Settings` and `ReadOptions` by name, such as `strength=0.5` or `white=4095`; they override
            `settings` and `read`.

    Returns:
        Array of the same shape and dtype.

    Raises:
        ImageError: The image is not a gray array of these types.
        ModelError: The model cannot be loaded, or fails on the image.
        UsageError: A setting is out of range or of a wrong type.
        TypeError: A keyword is unknown.

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
        source: An X-ray in any supported format.
        target: Path of the result: .png, .tif, ..., or .dcm for DICOM. None: NAME-denoised next to the source.
        model: As for `denoise`.
        settings: As for `denoise`.
        read: How the file is read. None: the defaults.
        precision: As for `denoise`.
        overwrite: Replace an existing `target`.
        **fields: As for `denoise`.

    Returns:
        The measurements of the image, with notes in `message`.

    Raises:
        ImageError: The file cannot be read, denoised or written.
        ModelError: The model cannot be loaded, or fails on the image.
        UsageError: A path or setting is invalid, or `target` exists.
        TypeError: A keyword is unknown.
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
    """Denoise a directory or bucket, as `cxr-infer dir` does. Originals are only read; finished files are skipped.

    Denoising starts with the first `next` and continues while results are consumed. Use `Summary` for totals.

    Args:
        source: Directory, or URL such as s3://bucket/folder.
        out: Directory or URL of the results, with the same tree. None: IN-denoised.
        model: As for `denoise`.
        settings: As for `denoise`.
        read: How files are read, references included. None: the defaults.
        precision: As for `denoise`.
        reference: Directory of clean images with the same names, to compare results with.
        overwrite: Denoise all images again, and replace existing files.
        follow_links: Also follow links in `source` to files outside it.
        shard: `I/N`: denoise share I of N only.
        engine: Engine that does the work. None: this process.
        stopped: Called before each image; once it returns true, begun images are finished and the rest is `pending`.
        **fields: As for `denoise`.

    Returns:
        One result per file. A file that fails is a result with status `failed`, not an exception.

    Raises:
        UsageError: A path or setting is invalid, or `source` has no images (when called); `out` cannot be used (during
            iteration).
        ModelError: The model cannot be loaded.
        TypeError: A keyword is unknown.
    """
    chosen, reading = _options(settings, read, fields)
    if not (engine is None or isinstance(engine, Engine)):
        raise UsageError(f"engine {engine!r} is not an engine; give an object of a subclass of cxr_infer.Engine")
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
        **fields: As for `denoise`; only those of `ReadOptions` have an effect.

    Returns:
        The estimate: `sd` in [0, 1], `gray_levels`, `photons_at_white`, `kind`, `correlation`, and whether it is
        `sure`.

    Raises:
        ImageError: The image is not a gray array of these types.
    """
    _, reading = _options(None, read, fields)
    return estimate_mottle(_picture(gray_array(image)[0], reading).gray())


def mse(clean: ArrayLike, image: ArrayLike, *, white: int | None = None) -> float:
    """Mean squared error of an image against a clean one, both scaled to [0, 1].

    Args:
        clean: As for `denoise`.
        image: As for `denoise`; same shape as `clean`, any dtype.
        white: Value that means white in uint16 images. None: 65535.

    Returns:
        The error, 0 to 1.

    Raises:
        ImageError: An image is not a gray array, or the shapes differ.
    """
    return metrics.mse(*_unit_pair(clean, image, white))


def psnr(clean: ArrayLike, image: ArrayLike, *, white: int | None = None) -> float:
    """Peak signal-to-noise ratio of an image against a clean one.

    Args:
        clean: As for `mse`.
        image: As for `mse`.
        white: As for `mse`.

    Returns:
        The ratio in dB, at most 120, which identical images have.

    Raises:
        ImageError: As for `mse`.
    """
    return metrics.psnr(*_unit_pair(clean, image, white))


def ssim(clean: ArrayLike, image: ArrayLike, *, white: int | None = None) -> float:
    """Structural similarity of an image to a clean one (Wang et al. 2004), in a Gaussian window of sigma 1.5 px.

    Args:
        clean: As for `mse`.
        image: As for `mse`.
        white: As for `mse`.

    Returns:
        The similarity, at most 1.

    Raises:
        ImageError: As for `mse`.
    """
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
    """Return `settings` and `read` with single fields replaced. Raises TypeError for an unknown field."""
    for options, kind in ((settings, Settings), (read, ReadOptions)):
        if not (options is None or isinstance(options, kind)):
            raise UsageError(
                f"a {type(options).__name__} is not a {kind.__name__} object; give one, or its fields as keywords"
            )
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
