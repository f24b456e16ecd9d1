"""Check that the installed models are intact and compute the expected results on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cxr_infer.errors import ModelError
from cxr_infer.imaging.metrics import largest_difference
from cxr_infer.imaging.pixels import Float32Array
from cxr_infer.model.card import DENOISED, NOISE_LEVEL, NOISY, weights_directory
from cxr_infer.model.denoiser import Model
from cxr_infer.model.installed import InstalledModel, installed_models, noise_estimate
from cxr_infer.model.manifest import FileEntry, NoiseEntry, read_manifest, read_noise_estimate
from cxr_infer.model.session import first_line, open_session, read_model

ONE = np.ones(1, np.float32)


@dataclass(frozen=True)
class Verified:
    """The check of one installed file.

    tensors: largest difference from the expected output of the bare graph; image: the same for a whole image, through
    windows or a resize. Both on [0, 1] pixels, None if not run; for the noise estimate, `image` is a fraction of the
    level. problem: a sentence, empty if all is well.
    """

    installed: InstalledModel
    tolerance: float | None = None
    tensors: float | None = None
    image: float | None = None
    problem: str = ""


def verify_models() -> list[Verified]:
    """Check the hash of every installed model and run its test tensors, the noise estimate last.

    Raises ModelError if the manifest or a file is missing.
    """
    listed = {entry.path: entry for entry in read_manifest(weights_directory())}
    found = [_verify(installed, listed.get(installed.path)) for installed in installed_models()]
    estimate, entry = noise_estimate(), read_noise_estimate(weights_directory())
    return found if estimate is None or entry is None else [*found, _verify_noise(estimate, entry)]


def _verify(installed: InstalledModel, entry: FileEntry | None) -> Verified:
    if entry is None:
        return Verified(installed, problem=f"{installed.path}: not in the manifest; reinstall cxr-infer")
    if not installed.intact or installed.sha256 != entry.sha256:
        source = "manifest" if installed.intact else "card"
        problem = f"{installed.path}: does not match the SHA-256 of its {source}; reinstall cxr-infer"
        return Verified(installed, entry.tolerance, problem=problem)
    try:
        tensors, image = _differences(installed, entry)
    except ModelError as error:
        return Verified(installed, entry.tolerance, problem=str(error))
    return Verified(
        installed, entry.tolerance, tensors, image, _too_far(installed, max(tensors, image), entry.tolerance)
    )


def _verify_noise(installed: InstalledModel, entry: NoiseEntry) -> Verified:
    if not installed.intact:
        wrong = "does not match the SHA-256 of its manifest" if installed.bytes else "no such model file"
        problem = f"{installed.path}: {wrong}; reinstall cxr-infer"
        return Verified(installed, entry.tolerance, problem=problem)
    try:
        session = open_session(read_model(installed.path), installed.path, threads=1)
        found = [largest_difference(_level(session, image, installed) / level, ONE) for image, level in entry.cases()]
    except ModelError as error:
        return Verified(installed, entry.tolerance, problem=str(error))
    return Verified(
        installed, entry.tolerance, image=max(found), problem=_too_far(installed, max(found), entry.tolerance)
    )


def _level(session: Any, image: Float32Array, installed: InstalledModel) -> Float32Array:
    """Return the level that the file computes for an image (H, W). Raises ModelError if it fails."""
    try:
        return np.asarray(session.run([NOISE_LEVEL], {NOISY: image[None, None]})[0], dtype=np.float32)
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise ModelError(
            f"{installed.path}: failed on its test image: {first_line(error)}; reinstall cxr-infer"
        ) from error


def _too_far(installed: InstalledModel, difference: float, tolerance: float) -> str:
    """Return the problem with such a difference, or an empty text. It is never NaN: see `largest_difference`."""
    if difference <= tolerance:
        return ""
    return (
        f"{installed.path}: its output differs by {difference:.1e} from the expected one, "
        f"more than {tolerance:g}; try another version of onnxruntime"
    )


def _differences(installed: InstalledModel, entry: FileEntry) -> tuple[float, float]:
    model = Model.open(read_model(installed.path), installed.path)
    inputs, expected = entry.tensors()
    tensors = largest_difference(model.run(inputs[NOISY], inputs.get(NOISE_LEVEL, 0.0)), expected[DENOISED])
    case = entry.image_case()
    return tensors, largest_difference(model.denoise_unit(case.noisy, case.settings), case.denoised)
