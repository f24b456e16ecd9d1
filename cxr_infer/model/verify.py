"""Are the installed models whole, and do they compute here what they computed where they were made?"""

from __future__ import annotations

from dataclasses import dataclass

from cxr_infer.errors import ModelError
from cxr_infer.imaging.metrics import largest_difference
from cxr_infer.model.card import DENOISED, NOISE_LEVEL, NOISY, weights_directory
from cxr_infer.model.denoiser import Model
from cxr_infer.model.installed import InstalledModel, installed_models
from cxr_infer.model.manifest import FileEntry, read_manifest
from cxr_infer.model.session import read_model


@dataclass(frozen=True)
class Verified:
    """One installed file and what was found.

    tensors: largest difference from the expected output of the bare graph; image: the same of a whole image, through
    windows or a resize. Both on [0, 1] pixels, None where it was not run. problem: a sentence, empty where all is well.
    """

    installed: InstalledModel
    tolerance: float | None = None
    tensors: float | None = None
    image: float | None = None
    problem: str = ""


def verify_models() -> list[Verified]:
    """Check the hash of every installed model and run its test tensors. Raises ModelError where files are missing."""
    listed = {entry.path: entry for entry in read_manifest(weights_directory())}
    return [_verify(installed, listed.get(installed.path)) for installed in installed_models()]


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
    problem = ""
    if max(tensors, image) > entry.tolerance:  # none of them is NaN: see `largest_difference`
        problem = (
            f"{installed.path}: its output differs by {max(tensors, image):.1e} from the expected one, "
            f"more than {entry.tolerance:g}; try another version of onnxruntime"
        )
    return Verified(installed, entry.tolerance, tensors, image, problem)


def _differences(installed: InstalledModel, entry: FileEntry) -> tuple[float, float]:
    model = Model.open(read_model(installed.path), installed.path)
    inputs, expected = entry.tensors()
    tensors = largest_difference(model.run(inputs[NOISY], inputs.get(NOISE_LEVEL, 0.0)), expected[DENOISED])
    case = entry.image_case()
    return tensors, largest_difference(model.denoise_unit(case.noisy, case.settings), case.denoised)
