"""Ranges, ticks and number formats of a plot's axes, without a drawing library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cxr_infer.lab.findings import Axis

MARGIN = 0.04  # of a range, on both sides
TICKS = 5  # approximate number
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)  # steps between ticks, times a power of ten
LOG_NICE = (1.0, 2.0, 5.0)  # ticks within a decade on a short axis
FEW_DECADES = 2.5


@dataclass(frozen=True)
class AxisScale:
    """An axis from low to high. logarithmic: equal ratios have equal lengths."""

    low: float
    high: float
    logarithmic: bool

    def share(self, value: float) -> float:
        """Return the position of a value, 0 at the low end and 1 at the high end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def shows(self, value: float) -> bool:
        return math.isfinite(value) and (value > 0 or not self.logarithmic)

    def ticks(self) -> list[float]:
        """Return round values within the axis."""
        return _log_ticks(self.low, self.high) if self.logarithmic else _ticks(self.low, self.high)


def scale_of(axis: Axis, values: Iterable[float]) -> AxisScale:
    """Return an axis that contains all values it can show."""
    shown = [value for value in values if math.isfinite(value) and (value > 0 or not axis.logarithmic)]
    low, high = (min(shown), max(shown)) if shown else (1.0, 2.0)
    if axis.logarithmic:
        low, high = (low / 1.5, high * 1.5) if low == high else (low, high)
        ratio = (high / low) ** MARGIN
        return AxisScale(low / ratio, high * ratio, True)
    if low == high:
        low, high = low - max(0.5, abs(low) / 2), high + max(0.5, abs(high) / 2)
    room = MARGIN * (high - low)
    return AxisScale(low - room, high + room, False)


def _ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in NICE if nice * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = math.log10(high / low)
    steps = LOG_NICE if decades <= FEW_DECADES else (1.0,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    return found if len(found) > 1 else _ticks(low, high)


def shown_number(value: float | None, digits: int = 3) -> str:
    """Format a number with some digits: no exponent between 0.001 and a million, a true minus sign."""
    if value is None or not math.isfinite(value):
        return "–"  # noqa: RUF001 - no figure, as in the tables of the report
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if not -7 < places - digits + 1 < 4:
        text = f"{value:.{digits - 1}e}"
    else:
        rounded = round(value, places)
        text = f"{rounded:.{max(0, places)}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")  # noqa: RUF001


def shown_tick(value: float) -> str:
    return shown_number(0.0 if abs(value) < 1e-12 else value, 4)


def label_of(axis: Axis) -> str:
    """Name and unit."""
    return f"{axis.name}, {axis.unit}" if axis.unit else axis.name


def conditions(series: Sequence[tuple[str, str]]) -> list[str]:
    """Return the distinct conditions in order. series: method and condition of each."""
    return list(dict.fromkeys(condition for _, condition in series))
