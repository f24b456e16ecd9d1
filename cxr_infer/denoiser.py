"""Array -> array: load a model once, denoise any number of images with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError, ModelError, UsageError
from cxr_infer.installed import AUTO, model_path, verify
from cxr_infer.intensity import from_unit, to_unit
from cxr_infer.model_card import DENOISED, METADATA_KEY, MODEL_NAMES, NOISE_LEVEL, NOISY, ModelCard, sha256
from cxr_infer.mottle import Mottle, estimate_mottle, repair_wrapped
from cxr_infer.processor import multiplies_int8_fast
from cxr_infer.settings import Settings
from cxr_infer.threads import available_cpus
from cxr_infer.tiling import Grid, plan_axis, plan_windows, predict_in_windows

FloatImage = NDArray[np.float32]

MEGABYTE = 1_000_000
FOREIGN_MULTIPLE = 16  # px, assumed of a model with free height and width that carries no card


@dataclass(frozen=True)
class Model:
    """A loaded model: its card, its file, and the onnxruntime session."""

    card: ModelCard
    path: Path
    session: Any  # onnxruntime.InferenceSession, which carries no types

    @property
    def title(self) -> str:
        """Name and precision, as reports show them."""
        return f"{self.card.name} ({self.card.precision})"

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the ONNX file."""
        return sha256(self.path)

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
        most = min((self.card.window + overlap) ** 2, self._affordable(settings))
        return plan_windows(shape, most, overlap, multiple)

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
            return np.asarray(self.session.run([DENOISED], feed)[0], dtype=np.float32)
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(
                f"{self.path}: onnxruntime failed on a window of {windows.shape[-2:]}: {reason}"
            ) from error

    def _windows(self, image: FloatImage, settings: Settings, mottle: Mottle | None) -> FloatImage:
        level = (mottle or estimate_mottle(image)).level if self.card.told_noise_level else 0.0
        grid = self.grid((image.shape[0], image.shape[1]), settings)
        batch = max(1, self._affordable(settings) // grid.window_pixels)
        return predict_in_windows(image, lambda windows: self._run(windows, level), grid, batch)

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


def load_model(name: str | Path = "window", *, precision: str = AUTO, threads: int | None = None) -> Model:
    """Load one of the shipped models, or any ONNX file that keeps the same contract.

    name: `window`, `original`, `new`, or the path of an .onnx file with input `noisy` and output `denoised`.
    precision: `fp32`, `int8`, or `auto` for int8 where the model has it and this CPU is made for it.
    threads: None for as many as CPU affinity and container quota allow.
    Raises ModelError where the file is missing, damaged or of another kind, UsageError for an unknown name or
    precision.
    """
    path = model_path(name, precision)
    if str(name) in MODEL_NAMES:
        verify(path)
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads} is too few; use 1 or more")
    session = _open_session(path, threads if threads is not None else available_cpus())
    return Model(_card_of(session, path), path, session)


def _open_session(path: Path, threads: int) -> Any:
    import onnxruntime  # takes longer to import than everything else together

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # spinning threads burn the CPU time that a container's quota counts; measured faster without
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # planned memory for each new shape of input is kept for good; without, a window takes half as much, no slower
    options.enable_mem_pattern = False
    # without VNNI, sums of unsigned by signed 8-bit products saturate on x86; unsigned weights keep them exact
    options.add_session_config_entry("session.x64quantprecision", "0" if multiplies_int8_fast() else "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{path}: onnxruntime cannot load it ({reason}); is it a complete .onnx file?") from error


def _card_of(session: Any, path: Path) -> ModelCard:
    """The card inside the file; for a file without one, what its inputs and outputs tell."""
    inputs = {node.name: node.shape for node in session.get_inputs()}
    outputs = {node.name for node in session.get_outputs()}
    told = NOISE_LEVEL in inputs
    if NOISY not in inputs or DENOISED not in outputs or len(inputs) != 1 + told:
        raise ModelError(
            f"{path}: has inputs {sorted(inputs)} and outputs {sorted(outputs)}; "
            f"needs {NOISY} (and {NOISE_LEVEL}) and {DENOISED}"
        )
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is not None:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ModelError(f"{path}: damaged card in its metadata; export it again") from error
        return ModelCard.from_mapping(content, str(path))
    card = ModelCard(name=path.stem, purpose="ONNX file without a card", told_noise_level=told)
    height, width = inputs[NOISY][-2:]
    if isinstance(height, int) and height == width:
        return replace(card, size=height)
    if isinstance(height, int) or isinstance(width, int):
        raise ModelError(f"{path}: takes {height}x{width} only; height and width must be free or one fixed square")
    return replace(card, multiple=FOREIGN_MULTIPLE)


def denoise(
    image: NDArray[np.generic],
    model: Model | str | Path = "window",
    *,
    strength: float = 1.0,
    window: int | None = None,
    overlap: int | None = None,
    repair_wrapped: bool = False,
    precision: str = AUTO,
) -> NDArray[np.generic]:
    """Remove the mottle of one X-ray.

    image: (H, W) uint8, uint16, or floating point in [0, 1]; black 0, bone white. model: a loaded model, or what
    `load_model` takes (then it is loaded for this one call, in this precision). The rest: see `Settings`.
    Returns the same shape and dtype. Raises ImageError, ModelError or UsageError.
    """
    settings = Settings(strength, window, overlap, repair_wrapped)
    loaded = model if isinstance(model, Model) else load_model(model, precision=precision)
    if np.issubdtype(image.dtype, np.floating):
        unit = np.asarray(image, dtype=np.float32)
        if unit.size and not (unit.min() >= 0 and unit.max() <= 1):  # also false for NaN
            raise ImageError("floating-point pixels must lie in [0, 1]; scale them first")
        return loaded.denoise_unit(unit, settings).astype(image.dtype)
    return from_unit(loaded.denoise_unit(to_unit(image), settings), image.dtype)
