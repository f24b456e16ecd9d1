"""Search: at which of several places is the signal? The same observer scans all of them.

It knows neither the place nor the exact position within it, up to a few pixels: its rating of a place is the largest
output of its template around it. The percentage correct of this forced choice stands for a reader's performance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.jackknife import mean_estimate
from cxr_infer.lab.observed import ObservedScene
from cxr_infer.lab.observer import TAIL, Ratings, moments
from cxr_infer.lab.scipy_functions import special

FOLDS = 5  # groups of draws, each rated by an observer trained on the others


def percent_correct(right: Sequence[Float64Array]) -> Estimate:
    """Return how often the place with the signal is rated highest, in percent.

    right: from `choices`. The interval is the wider of two: exact for independent choices (Clopper and Pearson,
    Biometrika 26(4), 1934), and Student's over the draws, since the choices within one draw share its noise.
    """
    answers = np.concatenate(right)
    exact = binomial(int(answers.sum()), len(answers))
    by_draw = mean_estimate(np.array([draw.mean() for draw in right]))
    low, high = min(exact.low, by_draw.low), max(exact.high, by_draw.high)
    return Estimate(100 * exact.value, 100 * max(low, 0.0), 100 * min(high, 1.0))


def found_more(before: Sequence[Float64Array], after: Sequence[Float64Array]) -> Estimate:
    """Return percent correct after minus before, from the same draws, with Student's interval over the draws.

    The interval is at least as wide as that of a fraction of 0 in as many choices.
    """
    by_draw = mean_estimate(np.array([a.mean() - b.mean() for b, a in zip(before, after, strict=True)]))
    reach = max(by_draw.high - by_draw.value, binomial(0, sum(map(len, after))).high)
    change = float(np.concatenate(after).mean() - np.concatenate(before).mean())
    return Estimate(*(100 * float(np.clip(change + step, -1, 1)) for step in (0, -reach, reach)))


def choices(seen: ObservedScene, signal: int) -> list[Float64Array]:
    """Return for each draw: 1 for every place whose signal was found, 0 for every other place with a signal.

    The ratings of the other places are from the same draw without signals. Training and test draws are disjoint.
    """
    scene = seen.scene
    here = scene.signal_of == signal
    fold = np.arange(scene.draws) // len(scene.images) % FOLDS
    right = []
    for tested in range(FOLDS):
        template, background = _trained(seen, here, fold != tested)
        for draw in np.flatnonzero((fold == tested) & here.any(axis=1)):
            known = background[scene.image_of[draw]]
            with_signal, without = (
                ((outputs[draw] - known) @ template).max(axis=1) for outputs in (seen.present, seen.absent)
            )
            others = np.broadcast_to(without, (len(without), len(without))).copy()
            np.fill_diagonal(others, -np.inf)
            found = with_signal > others.max(axis=1)
            right.append(found[here[draw]].astype(np.float64))
    return right


def _trained(
    seen: ObservedScene, here: NDArray[np.bool_], kept: NDArray[np.bool_]
) -> tuple[Float64Array, Float64Array]:
    """Return the template, (channels,), and each image's background, (images, places, shifts, channels)."""
    scene = seen.scene
    with_signal, all_places = here & kept[:, None], np.broadcast_to(kept[:, None], here.shape)
    present = Ratings(seen.present[:, :, seen.centre][with_signal].astype(np.float64), scene.place_of[with_signal])
    absent = Ratings(seen.absent[:, :, seen.centre][all_places].astype(np.float64), scene.place_of[all_places])
    background = np.stack(
        [seen.absent[kept & (scene.image_of == image)].mean(axis=0) for image in range(len(scene.images))]
    )
    return moments(present, absent).template, background.astype(np.float64)


def binomial(right: int, trials: int) -> Estimate:
    """Return a fraction with Clopper and Pearson's exact 95% interval."""
    inverse = special().betaincinv
    low = float(inverse(right, trials - right + 1, TAIL)) if right else 0.0
    high = float(inverse(right + 1, trials - right, 1 - TAIL)) if right < trials else 1.0
    return Estimate(right / trials, low, high)
