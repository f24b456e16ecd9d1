"""Studies of whole denoised images; they share draws, which are denoised once for all of them.

The first of them in a protocol measures, and returns the findings of all that the protocol lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.conditions import Condition, conditions, exposures, in_equal_noise
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.line_response import count_lines, line_response
from cxr_infer.lab.marked import choices, plan_for, projected
from cxr_infer.lab.methods import run
from cxr_infer.lab.setting import Method, NamedArrays, Setting, UnitStore

DrawTable = Mapping[
    tuple[str, Condition], list[NamedArrays]
]  # method and condition -> result of `measure` for each image
Findings = Callable[[Setting, DrawTable], list[Finding]]

CONTRAST, LINES, BRIGHTNESS = "contrast-kept", "lines", "brightness"
ORDER = (CONTRAST, LINES, BRIGHTNESS)
BRIGHTNESS_BANDS = 8  # of brightness, 32 gray levels each
LINE_DRAWS = 8  # maximum number of draws for counting lines, which takes as long as denoising

_FINDINGS: dict[str, Findings] = {}


def member(name: str, findings: Findings) -> Callable[[Setting, UnitStore], list[Finding]]:
    """Return the study of that name in ORDER."""
    _FINDINGS[name] = findings

    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        asked = [each for each in ORDER if each in (*setting.protocol.studies, name) and each in _FINDINGS]
        if name != asked[0]:
            return []
        table = _measured(setting, work, frozenset(asked))
        return [finding for each in asked for finding in _FINDINGS[each](setting, table)]

    return study


def _measured(setting: Setting, work: UnitStore, asked: frozenset[str]) -> DrawTable:
    under = conditions(setting.protocol)
    if _has_signals(setting, asked):  # report an image without a place before anything is measured
        for name, clean in setting.images.items():
            plan_for(clean, name, setting.protocol)
    work.expect(len(under) * len(setting.methods) * len(setting.images))
    return {
        (method.name, condition): [
            work.unit(
                f"{'+'.join(sorted(asked))}/{condition.name}/{setting.key_of(method)}/{name}",
                partial(measure, setting, method, condition, name, clean, asked),
            )
            for name, clean in setting.images.items()
        ]
        for method in setting.methods
        for condition in under
    }


def _has_signals(setting: Setting, asked: frozenset[str]) -> bool:
    return CONTRAST in asked and bool(choices(setting.protocol))


def measure(
    setting: Setting, method: Method, condition: Condition, name: str, clean: FloatImage, asked: frozenset[str]
) -> NamedArrays:
    """Measure one clean image at every draw of noise, for each requested study:

    lines: (draws, 3), of the first draws: lines of the clean image, those of them lost, and false ones.
    brightness: (draws, BRIGHTNESS_BANDS + 1, 2), sum of denoised - clean in gray levels and number of pixels, by the
    clean pixel's brightness; the last band is of pixels that are white in the clean image.
    kept, given, order: (draws, places), projections on the signal after and before denoising, and index of the signal.
    """
    plan = plan_for(clean, name, setting.protocol) if _has_signals(setting, asked) else None
    squares = plan.squares() if plan else []
    there = line_response(clean) if LINES in asked else None
    lines, errors, kept, given = [], [], [], []
    for turn, (noisy, told) in enumerate(exposures(setting, condition, name, clean, setting.draws_of(method))):
        denoised = run(method, noisy, told)
        if there is not None and turn < LINE_DRAWS:
            lines.append(count_lines(there, line_response(denoised)))
        if BRIGHTNESS in asked:
            errors.append(errors_by_brightness(clean, denoised))
        if plan is not None:
            marked = plan.marked(turn)
            before = in_equal_noise(clean, noisy, marked)
            kept.append(projected(marked - clean, squares, run(method, before, told) - denoised))
            given.append(projected(marked - clean, squares, before - noisy))
    found = {LINES: lines, BRIGHTNESS: errors, "kept": kept, "given": given}
    arrays: dict[str, NDArray[np.generic]] = {key: np.array(values) for key, values in found.items() if values}
    return arrays if plan is None else {**arrays, "order": plan.order[: len(kept)]}


def errors_by_brightness(clean: FloatImage, denoised: FloatImage) -> Float64Array:
    """Return (BRIGHTNESS_BANDS + 1, 2), see `measure`."""
    band = np.minimum((clean * 255 * BRIGHTNESS_BANDS / 256).astype(int), BRIGHTNESS_BANDS - 1)
    band[clean >= 1] = BRIGHTNESS_BANDS
    error = 255 * (denoised.astype(np.float64) - clean)
    sums = (np.bincount(band.ravel(), weights, minlength=BRIGHTNESS_BANDS + 1) for weights in (error.ravel(), None))
    return np.stack([np.asarray(one, np.float64) for one in sums], axis=-1)
