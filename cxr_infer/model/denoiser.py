"""A model that is loaded once and denoises any number of images."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_infer.errors import ImageError, ModelError, UsageError
from cxr_infer.imaging.mottle import Mottle, estimate_mottle, repair_wrapped
from cxr_infer.imaging.pixels import FloatImage, resized
from cxr_infer.imaging.tiling import Grid, plan_axis, plan_windows, predict_in_windows
from cxr_infer.model.card import MODEL_NAMES, ModelCard
from cxr_infer.model.hardware import available_cpus
from cxr_infer.model.installed import AUTO, is_intact, model_path
from cxr_infer.model.session import card_of, check_result, first_line, open_session, read_model, run, try_on_small_image
from cxr_infer.settings import Settings

MEGABYTE = 1_000_000
MOST_THREADS = 1024  # more than any machine can use; 100 000 take minutes to start
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        card: Its card.
        path: Its .onnx file.
        sha256: Hash of that file, hexadecimal.
        session: The onnxruntime.InferenceSession, which has no type annotations.
    """

    card: ModelCard
    path: Path
    sha256: str
    session: Any

    @staticmethod
    def open(content: bytes, path: Path, threads: int | None = None) -> Model:
        """Open a model from the bytes of an ONNX file that `read_model` has checked.

        path: of that file, for messages and the attribute. threads: None for as many as this process may use.
        Raises ModelError if it cannot be loaded, or if its inputs and outputs are not those of a denoiser.
        """
        session = open_session(content, path, available_cpus() if threads is None else threads)
        return Model(card_of(session, path), path, hashlib.sha256(content).hexdigest(), session)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the file itself, so that another process loads the same model on any machine.

        Raises ModelError if the file is gone or has changed.
        """
        content = read_model(self.path)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelError(f"{self.path}: changed since it was loaded; load it again")
        return Model.open, (content, self.path, self.threads)

    @property
    def threads(self) -> int:
        """Number of threads used for computing."""
        return int(self.session.get_session_options().intra_op_num_threads)

    @property
    def title(self) -> str:
        """Name and precision, as shown in reports."""
        return f"{self.card.name} ({self.card.precision})"

    def check(self, settings: Settings) -> None:
        """Raise UsageError if settings do not fit the model, whatever the image."""
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
        """Return the windows over an image of shape (H, W). Raises UsageError like `check`."""
        self.check(settings)
        multiple, overlap = self.card.multiple, self._overlap(settings)
        if settings.window is not None:
            rows, columns = (plan_axis(extent, settings.window, overlap, multiple) for extent in shape)
            return Grid(rows, columns)
        return plan_windows(shape, self._affordable(settings), overlap, multiple)

    def _overlap(self, settings: Settings) -> int:
        return settings.overlap if settings.overlap is not None else self.card.overlap

    def _affordable(self, settings: Settings) -> int:
        """Pixels that fit in the network at once."""
        return settings.memory * MEGABYTE // self.card.memory_per_pixel

    def denoise_unit(self, image: FloatImage, settings: Settings, mottle: Mottle | None = None) -> FloatImage:
        """Denoise one image, (H, W) float32 in [0, 1]; the result has the same shape and range.

        mottle: what `estimate_mottle` returned for the image, if already known.
        Raises ImageError if the image is empty or not two-dimensional, UsageError if settings do not fit the model.
        """
        if image.ndim != 2 or image.size == 0:
            raise ImageError(
                f"an image of shape {image.shape} is not a gray (height, width) image; give an array of two axes"
            )
        self.check(settings)
        if settings.strength == 0.0 and not settings.repair_wrapped:
            return image
        if settings.repair_wrapped:
            image, mottle = repair_wrapped(image), None
        denoised = self._whole(image) if self.card.size is not None else self._windows(image, settings, mottle)
        if settings.strength == 1.0:
            return denoised
        return image + np.float32(settings.strength) * (denoised - image)

    def run(self, windows: NDArray[np.float32], level: ArrayLike) -> NDArray[np.float32]:
        """Apply the network: (N, 1, H, W) float32 in [0, 1] to the same shape, not clipped.

        level: noise level, see `ModelCard.feed`. Raises ModelError if onnxruntime fails, or if the result has another
        shape or non-finite values.
        """
        try:
            result = np.asarray(run(self.session, self.card.feed(windows, level)), dtype=np.float32)
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
        denoised = predict_in_windows(image, lambda windows: self.run(windows, level), grid, batch)
        return np.clip(denoised, 0, 1, out=denoised)

    def _whole(self, image: FloatImage) -> FloatImage:
        small = resized(image, self.card.size or 0, self.card.size or 0)
        level = estimate_mottle(small).level if self.card.told_noise_level else 0.0
        return np.clip(resized(self.run(small[None, None], level)[0, 0], *image.shape), 0, 1)


def load_model(name: str | Path = "window", *, precision: str = AUTO, threads: int | None = None) -> Model:
    """Load a shipped model, or any ONNX file with the same inputs and outputs.

    A file given by path is not trusted: it must contain its weights, and return a small image with the same shape and
    finite values within a time limit.

    Args:
        name: `window`, `original`, `new`, or the path of an .onnx file with input `noisy` and output `denoised`.
        precision: `fp32`, `int8`, or `auto`: int8 if the model has it and this CPU computes it fast.
        threads: Number of threads. None: as many as CPU affinity and container quota allow.

    Returns:
        The model, ready for any number of images. It can be pickled.

    Raises:
        ModelError: The file is missing, damaged or not a denoising model.
        UsageError: The name or precision is unknown, or threads is not in 1..1024.

    Examples:
        >>> load_model("window", precision="fp32").title
        'window (fp32)'
    """
    path = model_path(name, precision)
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads} is too few; use 1 or more")
    if threads is not None and threads > MOST_THREADS:
        raise UsageError(f"threads {threads} is too many; use {MOST_THREADS} or fewer")
    content = read_model(path)
    shipped = str(name) in MODEL_NAMES
    if shipped and not is_intact(path, hashlib.sha256(content).hexdigest()):
        raise ModelError(f"{path}: does not match the SHA-256 of its card; reinstall cxr-infer")
    model = Model.open(content, path, threads)
    LOG.info("model file %s, %s bytes", path, len(content))
    if not shipped:
        try_on_small_image(model.session, model.card, path)
    return model
