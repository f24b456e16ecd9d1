"""Open an ONNX file as an onnxruntime session, with its card. Files are untrusted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.address_space import LACK, lacks_memory
from cxr_infer.errors import ImageError, ModelError
from cxr_infer.files import read_content
from cxr_infer.model.attempts import attempt
from cxr_infer.model.card import DENOISED, METADATA_KEY, NOISE_LEVEL, NOISY, ModelCard
from cxr_infer.model.onnx_wire import WireError, keeps_values_elsewhere
from cxr_infer.untrusted_json import parse_object

FOREIGN_MULTIPLE = 16  # px, assumed for a model with free height and width and without a card
FLOAT = "tensor(float)"
TRIAL_SIZE, TRIAL_LEVEL = 64, 0.06  # px, and the noise level of 70 photons at white
TRIAL_SECONDS = 30.0  # for 64x64 px; a slower model is of no use on this machine
LOAD_SECONDS = 60.0  # the largest files load in a few
MOST_BYTES = 1 << 31  # per file, the limit of protobuf
NO_FOLDER = os.devnull  # where onnxruntime looks for external weights; no file can be in it


def read_model(path: Path) -> bytes:
    """Read the bytes of a model file.

    Raises ModelError if it cannot be read, is not a plain file or not an ONNX file, or stores a tensor in another file.
    """
    try:
        content = read_content(path, MOST_BYTES, f"is over {MOST_BYTES >> 30} GB, the most that an .onnx file can hold")
    except ImageError as error:
        raise ModelError(str(error)) from error
    try:
        elsewhere = keeps_values_elsewhere(content)
    except WireError as error:
        raise ModelError(f"{path}: cannot be loaded: the file {error}; is it a complete .onnx file?") from error
    if elsewhere:
        raise ModelError(f"{path}: keeps its weights in another file; save it as a single file")
    return content


def open_session(content: bytes, path: Path, threads: int) -> Any:
    """Return an onnxruntime.InferenceSession on the CPU. path: for messages. Raises ModelError if it cannot be loaded.

    `read_model` has already refused models that store values in other files. As a second guard, onnxruntime is told to
    look for them where no file can be; by default it looks in the current directory.
    """
    import onnxruntime  # takes longer to import than everything else together

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # spinning threads use up a container's CPU quota; measured faster without
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # onnxruntime's own format was not checked
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)
    # planned memory is kept forever for each new input shape; without it a window needs half as much, and no more time
    options.enable_mem_pattern = False
    try:
        # loading folds constants, and an untrusted file may have any number of them
        return attempt(
            lambda: onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]),
            seconds=LOAD_SECONDS,
        )
    except TimeoutError:
        raise ModelError(f"{path}: takes more than {LOAD_SECONDS:g} s to load; not a denoising model?") from None
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        if lacks_memory(error):
            raise ModelError(f"{path}: cannot be loaded: {LACK}") from error
        raise ModelError(
            f"{path}: onnxruntime cannot load it: {first_line(error)}; is it a complete .onnx file?"
        ) from error


def first_line(error: Exception) -> str:
    """Return the first line of onnxruntime's error, short enough for a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def card_of(session: Any, path: Path) -> ModelCard:
    """Return the card in the file, or one derived from its inputs and outputs. Raises ModelError if that fails."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    told = NOISE_LEVEL in inputs
    if NOISY not in inputs or DENOISED not in outputs or len(inputs) != 1 + told:
        raise ModelError(
            f"{path}: has inputs {sorted(inputs)} and outputs {sorted(outputs)}; "
            f"needs {NOISY} (and {NOISE_LEVEL}) and {DENOISED}"
        )
    for node in (*inputs.values(), outputs[DENOISED]):
        rank = 1 if node.name == NOISE_LEVEL else 4
        if node.type != FLOAT or len(node.shape) != rank:
            raise ModelError(
                f"{path}: {node.name} is {node.type} with {len(node.shape)} axes; it must be {FLOAT} with {rank}"
            )
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is not None:
        try:
            content = parse_object(text)
        except ValueError as error:
            raise ModelError(f"{path}: damaged card in its metadata; export it again") from error
        return replace(ModelCard.from_mapping(content, str(path)), told_noise_level=told)
    card = ModelCard(name=path.stem, purpose="ONNX file without a card", told_noise_level=told)
    height, width = inputs[NOISY].shape[-2:]
    if isinstance(height, int) and height == width:
        return replace(card, size=height)
    if isinstance(height, int) or isinstance(width, int):
        raise ModelError(f"{path}: takes {height}x{width} only; height and width must be free or one fixed square")
    return replace(card, multiple=FOREIGN_MULTIPLE)


def run(session: Any, feed: Mapping[str, NDArray[np.float32]], seconds: float | None = None) -> Any:
    """Run a session on the inputs of `ModelCard.feed`. Ctrl-C ends it; so does a time limit, with a TimeoutError.

    Other exceptions are onnxruntime's: a dozen unrelated types.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()

    def end() -> None:
        options.terminate = True  # ends after the current operator

    return attempt(lambda: session.run([DENOISED], feed, options)[0], seconds=seconds, end=end)


def try_on_small_image(session: Any, card: ModelCard, path: Path, seconds: float = TRIAL_SECONDS) -> None:
    """Raise ModelError if the model fails on a small image, takes too long, or does not return an image."""
    side = card.size or -(-TRIAL_SIZE // card.multiple) * card.multiple
    image = np.linspace(0, 1, side * side, dtype=np.float32).reshape(1, 1, side, side)
    try:
        result = run(session, card.feed(image, TRIAL_LEVEL), seconds)
    except TimeoutError:
        raise ModelError(
            f"{path}: took more than {seconds:g} s for {side}x{side} pixels; not a denoising model?"
        ) from None
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise ModelError(
            f"{path}: failed on {side}x{side} pixels: {first_line(error)}; not a denoising model?"
        ) from error
    check_result(np.asarray(result), image.shape, path)


def check_result(result: NDArray[Any], shape: tuple[int, ...], path: Path) -> None:
    """Raise ModelError if a model's result differs from the windows' shape or is not finite."""
    if result.shape != shape or not np.isfinite(result).all():
        raise ModelError(
            f"{path}: returned shape {result.shape} for input {shape}, or non-finite values; not a denoising model?"
        )
