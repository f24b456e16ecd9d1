"""Compare the estimated noise with the noise that was added to an X-ray."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.detector_noise import expose, parse_protocol
from benchmarks.faint import smoothed
from benchmarks.quality import STEPS_16_BIT
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.noise import DetectorNoise
from cxr_train.comparison import noise_generator
from cxr_train.noise import round_to_steps

AS_THEY_ARE, SMOOTHED_FIRST = "as they are", "without their own grain"


def found_over_added(
    images: Mapping[str, FloatImage], detectors: Mapping[str, DetectorNoise], protocol: str, sd: float
) -> dict[str, list[float]]:
    """Return estimated over added noise, standard deviations, of each image unchanged and smoothed before exposure.

    images: name -> clean. X-rays have grain of their own, which the estimate includes; smoothing removes it, so that
    the second figure shows the accuracy of the estimate. sd: gray levels of 255.
    """
    name, step = parse_protocol(protocol, detectors)
    found: dict[str, list[float]] = {AS_THEY_ARE: [], SMOOTHED_FIRST: []}
    for image, clean in images.items():
        for kind, exposed in ((AS_THEY_ARE, clean), (SMOOTHED_FIRST, smoothed(clean))):
            shot = expose(exposed, detectors[name], step, sd, noise_generator(image, f"{protocol}/{sd}"))
            added = float(np.std(shot.noisy - shot.clean, dtype=np.float64))
            found[kind].append(estimate_mottle(round_to_steps(shot.noisy, STEPS_16_BIT)).sd / added)
    return found
