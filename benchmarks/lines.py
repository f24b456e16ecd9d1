"""Count lines that a method loses, and false lines, as `cxr_infer.lab` defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.line_response import count_lines, line_response
from cxr_train.comparison import DenoisingMethod, run
from cxr_train.noise import round_to_steps, saturating_mottle


def lost_and_false_lines(
    images: Sequence[FloatImage], method: DenoisingMethod, white: float, seed: int = 0
) -> dict[str, float]:
    """Return lines per megapixel at a dose: `present` in the clean images, how many of them are `lost`, and `false`
    ones.

    images: clean, (H, W) float32 in [0, 1]. white: photons at white. seed: of the noise.
    """
    counts, pixels = np.zeros(3), 0
    for index, clean in enumerate(images):
        noisy = round_to_steps(saturating_mottle(clean, white, np.random.default_rng([seed, index])))
        denoised = round_to_steps(run(method, noisy, white))
        counts += count_lines(line_response(clean), line_response(denoised))
        pixels += clean.size
    present, lost, false = (float(count) * 1e6 / pixels for count in counts)
    return {"present": present, "lost": lost, "false": false}
