"""Array -> array: load a model once, denoise any number of images with it."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_infer.errors import ImageError, ModelError, UsageError
from cxr_infer.formats.picture import Picture
from cxr_infer.imaging.arrays import gray_array
from cxr_infer.imaging.intensity import low_range
from cxr_infer.imaging.mottle import Mottle, estimate_mottle, repair_wrapped
from cxr_infer.imaging.tiling import Grid, plan_axis, plan_windows, predict_in_windows
from cxr_infer.model.card import DENOISED, MODEL_NAMES, NOISE_LEVEL, NOISY, ModelCard
from cxr_infer.model.installed import AUTO, is_intact, model_path
from cxr_infer.model.session import card_of, check_result, first_line, open_session, read_model, run, try_on_small_image
from cxr_infer.model.threads import available_cpus
from cxr_infer.settings import ReadOptions, Settings

FloatImage = NDArray[np.float32]

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        card: What its card says of it.
        path: Its .onnx file.
        sha256: Of the file, hexadecimal.
        session: The onnxruntime.InferenceSession, which carries no types.
    """

    card: ModelCard
    path: Path
    sha256: str
    session: Any

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the file itself, so that what another process loads is the same wherever it runs.

        Raises ModelError where the file is gone or was changed since.
        """
        content = read_model(self.path)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelError(f"{self.path}: was changed since it was loaded; load it again")
        threads = self.session.get_session_options().intra_op_num_threads
        return _reopened, (content, self.card, self.path, self.sha256, threads)

    @property
    def title(self) -> str:
        """Name and precision, as reports show them."""
        return f"{self.card.name} ({self.card.precision})"

    def check(self, settings: Settings) -> None:
        """Raises UsageError where settings do not fit the model, whatever the image."""
        if self.card.size is not None:
            if settings.window is not None or settings.overlap is not None:
                raise UsageError(f"model {self.card.name} takes whole images; --window and --overlap are for `window`")
        elif settings.window is None:
            overlap = self._overlap(settings)
            # `plan_windows` splits any axis into windows shorter than three overlaps, and sides are rounded up
            least = (3 * overlap + 2 * self.card.multiple) ** 2
            if self._affordable(settings) < least:
                raise UsageError(
                    f"memory {settings.memory} MB is too little for an overlap of {overlap} px; "
                    f"use {1 + least * self.card.memory_per_pixel // MEGABYTE} or more"
                )

    def grid(self, shape: tuple[int, int], settings: Settings) -> Grid:
        """The windows over an image of shape (H, W). Raises UsageError where `check` does."""
        self.check(settings)
        multiple, overlap = self.card.multiple, self._overlap(settings)
        if settings.window is not None:
            rows, columns = (plan_axis(extent, settings.window, overlap, multiple) for extent in shape)
            return Grid(rows, columns)
        return plan_windows(shape, self._affordable(settings), overlap, multiple)

    def _overlap(self, settings: Settings) -> int:
        return settings.overlap if settings.overlap is not None else self.card.overlap

    def _affordable(self, settings: Settings) -> int:
        """Pixels that may be in the network at once."""
        return settings.memory * MEGABYTE // self.card.memory_per_pixel

    def denoise_unit(self, image: FloatImage, settings: Settings, mottle: Mottle | None = None) -> FloatImage:
        """One image (H, W) float32 in [0, 1] -> the same. Raises ImageError for an empty or wrongly shaped one.

        mottle: what `estimate_mottle` found in it, where that is known already.
        """
        if image.ndim != 2 or image.size == 0:
            raise ImageError(f"an image of shape {image.shape} is not a gray (height, width) image")
        self.check(settings)
        if settings.strength == 0.0 and not settings.repair_wrapped:
            return image
        if settings.repair_wrapped:
            image, mottle = repair_wrapped(image), None
        denoised = self._whole(image) if self.card.size is not None else self._windows(image, settings, mottle)
        if settings.strength == 1.0:
            return denoised
        return image + np.float32(settings.strength) * (denoised - image)

    def _run(self, windows: FloatImage, level: float) -> FloatImage:
        feed: dict[str, NDArray[np.float32]] = {NOISY: windows}
        if self.card.told_noise_level:
            feed[NOISE_LEVEL] = np.full(len(windows), level, dtype=np.float32)
        try:
            result = np.asarray(run(self.session, DENOISED, feed), dtype=np.float32)
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise ModelError(
                f"{self.path}: onnxruntime failed on a window of {windows.shape[-2:]}: {first_line(error)}"
            ) from error
        check_result(result, windows.shape, self.path)
        return result

    def _windows(self, image: FloatImage, settings: Settings, mottle: Mottle | None) -> FloatImage:
        level = (mottle or estimate_mottle(image)).level if self.card.told_noise_level else 0.0
        grid = self.grid((image.shape[0], image.shape[1]), settings)
        batch = max(1, self._affordable(settings) // grid.window_pixels)
        denoised = predict_in_windows(image, lambda windows: self._run(windows, level), grid, batch)
        return np.clip(denoised, 0, 1, out=denoised)

    def _whole(self, image: FloatImage) -> FloatImage:
        resized = _resize(image, self.card.size or 0, self.card.size or 0)
        level = estimate_mottle(resized).level if self.card.told_noise_level else 0.0
        return np.clip(_resize(self._run(resized[None, None], level)[0, 0], *image.shape), 0, 1)


def _resize(image: FloatImage, height: int, width: int) -> FloatImage:
    if image.shape == (height, width):
        return image
    shrinks = height * width < image.size
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=mode), dtype=np.float32)


def _reopened(content: bytes, card: ModelCard, path: Path, digest: str, threads: int) -> Model:
    return Model(card, path, digest, open_session(content, path, threads))


def load_model(name: str | Path = "window", *, precision: str = AUTO, threads: int | None = None) -> Model:
    """Load one of the shipped models, or any ONNX file with the same inputs and outputs.

    A file given by path may come from anybody: it must hold its weights itself, and return a small image of the same
    shape with finite values in bounded time.

    Args:
        name: `window`, `original`, `new`, or the path of an .onnx file with input `noisy` and output `denoised`.
        precision: `fp32`, `int8`, or `auto`: int8 where the model has it and this CPU is fast at it.
        threads: To compute with. None: as many as CPU affinity and container quota allow.

    Returns:
        The model, ready for any number of images. It can be pickled.

    Raises:
        ModelError: The file is missing, damaged or of another kind.
        UsageError: The name or precision is unknown, or threads is below 1.

    Examples:
        >>> load_model("window", precision="fp32").title
        'window (fp32)'
    """
    path = model_path(name, precision)
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads} is too few; use 1 or more")
    content = read_model(path)
    digest = hashlib.sha256(content).hexdigest()
    shipped = str(name) in MODEL_NAMES
    if shipped and not is_intact(path, digest):
        raise ModelError(f"{path}: does not match the SHA-256 of its card; reinstall cxr-infer")
    session = open_session(content, path, threads if threads is not None else available_cpus())
    card = card_of(session, path)
    if not shipped:
        try_on_small_image(session, card, path)
    return Model(card, path, digest, session)


def denoise(
    image: ArrayLike,
    model: Model | str | Path = "window",
    *,
    strength: float = 1.0,
    window: int | None = None,
    overlap: int | None = None,
    repair_wrapped: bool = False,
    precision: str = AUTO,
    white: int | None = None,
    invert: bool = False,
) -> NDArray[np.generic]:
    """Remove the mottle of one X-ray.

    Warns where uint16 values use half of their range or less and no `white` is given, as the model would see them dark.

    Args:
        image: (H, W) uint8, uint16, or floating point in [0, 1], of any byte order; black 0, bone white. A list, a
            tensor on the CPU or a gray Pillow image will do too.
        model: A loaded model, or what `load_model` takes; then it is loaded for this one call.
        strength: 0 returns the input, 1 the network's result; between them the residual is blended.
        window: Side of a window in px, without the overlap. None: the whole image where memory allows.
        overlap: Least px that neighbouring windows share. None: the model's own.
        repair_wrapped: First undo the wrap-around of 8-bit noise.
        precision: Of a model given by name, see `load_model`.
        white: Value that means white in uint16, 4095 for 12-bit data; values above it stay as they are.
        invert: Black and white are swapped, in the result too.

    Returns:
        Array of the same shape and dtype.

    Raises:
        ImageError: The image is no gray array of these types.
        ModelError: The model cannot be loaded, or fails on the image.
        UsageError: A setting is out of range.

    Examples:
        >>> noisy = np.zeros((64, 64), np.uint8)
        >>> denoise(noisy, load_model("window")).dtype
        dtype('uint8')
    """
    settings, options = Settings(strength, window, overlap, repair_wrapped), ReadOptions(white=white, invert=invert)
    pixels, dtype = gray_array(image)
    loaded = model if isinstance(model, Model) else load_model(model, precision=precision)
    if pixels.dtype == np.uint16 and pixels.size and options.white is None and (note := low_range(pixels)):
        warnings.warn(note.replace("--white ", "white="), stacklevel=2)
    told_white = options.white if pixels.dtype == np.uint16 else None
    picture = Picture(pixels, white=told_white, inverted=options.invert)
    return picture.restored(loaded.denoise_unit(picture.unit(), settings)).pixels.astype(dtype)
