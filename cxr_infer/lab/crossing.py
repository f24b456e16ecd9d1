"""Find where a rising curve through noisy points reaches a level, without extrapolation."""

from __future__ import annotations

import numpy as np

from cxr_infer.imaging.pixels import Float64Array


def crossing(places: Float64Array, values: Float64Array, level: float) -> float | None:
    """Return where the curve reaches the level, or None if it does not within the given range.

    places: (n,), rising. The curve is linear between points, through values made monotonic (`risen`). If it is flat at
    the level, the middle of the flat part is returned.
    """
    curve = risen(values)
    if not curve[0] <= level <= curve[-1]:
        return None
    below, above = np.flatnonzero(curve <= level)[-1], np.flatnonzero(curve >= level)[0]
    if below >= above:
        return float((places[above] + places[below]) / 2)
    share = (level - curve[below]) / (curve[above] - curve[below])
    return float(places[below] + share * (places[above] - places[below]))


def risen(values: Float64Array) -> Float64Array:
    """Return the closest non-decreasing values (least squares): pool adjacent violators.

    Ayer et al., Annals of Mathematical Statistics 26(4), 1955.
    """
    means: list[float] = []
    counts: list[int] = []
    for value in values:
        means.append(float(value))
        counts.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            total = counts[-2] + counts[-1]
            means[-2:] = [(counts[-2] * means[-2] + counts[-1] * means[-1]) / total]
            counts[-2:] = [total]
    return np.repeat(means, counts)
