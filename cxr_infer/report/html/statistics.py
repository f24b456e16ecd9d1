"""What a report says of a whole run: means, and the histogram of the mottle that was removed."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from cxr_infer.report.columns import AVERAGED
from cxr_infer.report.results import FileResult

MOST_BINS = 24
ROUND_STEPS = (1, 2, 5)  # times a power of ten: widths of bins that can be read on an axis


@dataclass
class RunStatistics:
    """The figures of a run that have a mean, 8 bytes each an image, by their keys in `COLUMNS`."""

    values: dict[str, array[float]] = field(default_factory=lambda: {one.key: array("d") for one in AVERAGED})
    statuses: Counter[str] = field(default_factory=Counter)
    unsure: int = 0  # images whose noise is a guess, which is in no mean
    stays: int = 0  # images that keep most of their noise, which is in the means


@dataclass(frozen=True)
class Histogram:
    """counts[i] values lie in [start + i * width, start + (i + 1) * width)."""

    start: float
    width: float
    counts: tuple[int, ...]


def statistics_of(results: Iterable[FileResult]) -> RunStatistics:
    statistics = RunStatistics()
    for result in results:
        statistics.statuses[result.status] += 1
        statistics.unsure += result.unsure
        statistics.stays += result.mottle_left is not None and not result.unsure
        for column in AVERAGED:
            if (value := column.averaged(result)) is not None:
                statistics.values[column.key].append(value)
    return statistics


def mean(values: array[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def deviation(values: array[float]) -> float | None:
    """The sample standard deviation, from two values on."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def histogram(values: array[float]) -> Histogram:
    """Bins of a round width, the narrowest of which few enough hold all values. values: at least one."""
    low, high = min(values), max(values)
    width = _round_up(max((high - low) / (MOST_BINS - 1), 0.01))
    first = int(np.floor(low / width))
    bins = np.floor(np.asarray(values) / width).astype(int) - first
    return Histogram(first * width, width, tuple(int(count) for count in np.bincount(bins)))


def _round_up(width: float) -> float:
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(step * power for step in (*ROUND_STEPS, 10) if step * power >= width * (1 - 1e-9)))
