"""Write noisy phantoms and their clean references, for trying the program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr_infer.batch.jobs import require_free
from cxr_infer.errors import UsageError
from cxr_infer.folder import is_link_at
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import SMALLEST, render_phantom
from cxr_infer.imaging.pixels import from_unit

DOSES = (20.0, 71.0, 71.0, 200.0, 600.0)  # photons at white; 71 as in the published work
CLEAN_SUFFIX = "-clean"


@dataclass(frozen=True)
class Samples:
    """Written samples.

    Attributes:
        noisy: Directory of the noisy phantoms.
        clean: Directory of their clean references.
        names: File names, the same in both.
    """

    noisy: Path
    clean: Path
    names: tuple[str, ...]


def write_samples(
    directory: str | Path, *, size: int = 512, seed: int = 1, dose: float | None = None, overwrite: bool = False
) -> Samples:
    """Write noisy phantoms, and their clean references under the same names, as `cxr-infer sample` does.

    The last phantom is a 16-bit file, the others have 8 bits.

    Args:
        directory: Directory of the noisy phantoms. The references go to `directory`-clean.
        size: Side of the images, px.
        seed: Seed of the first phantom's anatomy and mottle; each further one adds 1.
        dose: Dose in photons at white. None: 20 to 600, one dose per phantom.
        overwrite: Replace existing files.

    Returns:
        What was written.

    Raises:
        UsageError: An argument is invalid, or a file exists.
        ImageError: A file cannot be written.
    """
    directory = Path(directory)
    if size < SMALLEST:
        raise UsageError(f"size {size} px is too small; use {SMALLEST} or more")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative; use 0 or more")
    if dose is not None and not (dose > 0 and math.isfinite(dose)):
        raise UsageError(f"dose {dose:g} photons is invalid; use a number above 0")
    doses = DOSES if dose is None else (dose,) * len(DOSES)
    named = directory if directory.name not in ("", "..") else directory.resolve()
    clean_directory = named.with_name(named.name + CLEAN_SUFFIX)
    names = tuple(f"phantom-{i + 1}-dose-{white:g}.png" for i, white in enumerate(doses))
    targets = [folder / name for folder in (directory, clean_directory) for name in names]
    if is_link_at(clean_directory):  # the user did not name it
        raise UsageError(f"{clean_directory}: is a link, which is not followed; remove it or give another directory")
    for target in targets:
        require_free(target, overwrite, "another directory")
    for index, (name, white) in enumerate(zip(names, doses, strict=True)):
        clean = render_phantom(seed + index, size)
        mottle = poisson_mottle(clean, white, np.random.default_rng([seed, index]))
        depth = np.dtype(np.uint16 if index == len(DOSES) - 1 else np.uint8)
        write_image(clean_directory / name, from_unit(clean, depth))
        write_image(directory / name, from_unit(mottle, depth))
    return Samples(directory, clean_directory, names)
