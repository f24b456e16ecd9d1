"""Statistics of a run: values for means, and the histogram of the mottle removed."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from cxr_infer.report.columns import AVERAGED
from cxr_infer.report.results import FileResult

MOST_BINS = 24
ROUND_STEPS = (1, 2, 5)  # times a power of ten: bin widths


@dataclass
class RunStatistics:
    """The averaged measurements of a run, by their keys in `COLUMNS`. Each takes 8 bytes per image."""

    values: dict[str, array[float]] = field(default_factory=lambda: {one.key: array("d") for one in AVERAGED})
    statuses: Counter[str] = field(default_factory=Counter)
    unsure: int = 0  # images with unsure noise estimates, which are not averaged
    stays: int = 0  # images with most of their noise left, which are averaged


@dataclass(frozen=True)
class Histogram:
    """A histogram: counts[i] values are in [start + i * width, start + (i + 1) * width)."""

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
    """Return the sample standard deviation; None for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def histogram(values: array[float]) -> Histogram:
    """Bin at least one value, with the smallest round width that needs at most MOST_BINS bins."""
    low, high = min(values), max(values)
    width = _round_up(max((high - low) / (MOST_BINS - 1), 0.01))
    first = int(np.floor(low / width))
    bins = np.floor(np.asarray(values) / width).astype(int) - first
    return Histogram(first * width, width, tuple(int(count) for count in np.bincount(bins)))


def _round_up(width: float) -> float:
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(step * power for step in (*ROUND_STEPS, 10) if step * power >= width * (1 - 1e-9)))
