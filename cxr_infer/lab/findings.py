"""Findings of the lab: values with their uncertainty, what they are about and what they do not mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from cxr_infer.imaging.pixels import FloatImage

CONFIDENCE = 0.95  # of every interval


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95% interval; for an exact one both ends equal the value."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        return cls(value, value, value)


@dataclass(frozen=True)
class Axis:
    """A quantity and its unit, "" for a pure number. logarithmic: how to draw it."""

    name: str
    unit: str = ""
    logarithmic: bool = False


DOSE = Axis("dose", "photons at white", logarithmic=True)


@dataclass(frozen=True)
class Series:
    """One curve. method: what was measured, such as "window". condition: such as "200 photons, white".

    x and y have equal lengths. draws: number of independent draws, if fewer than for the finding's other curves.
    """

    method: str
    condition: str
    x: tuple[float, ...]
    y: tuple[Estimate, ...]
    draws: int | None = None


@dataclass(frozen=True)
class NamedMap:
    """A map over an image, (H, W) float32, in gray levels of 255. method, condition: as in `Series`."""

    method: str
    condition: str
    values: FloatImage


@dataclass(frozen=True)
class Finding:
    """One figure of a study, ready to be printed, drawn and stored.

    key: unique within a result, such as "contrast-kept/nodule-5mm". study: name in `studies.STUDIES`. measured, on,
    caution: a sentence each on what was measured, on what, and what it does not mean. draws: number of independent
    draws (or images, or frames) behind each point. source: of the formula. maps: in addition to the curves.
    higher_is_better: None if neither is.
    """

    key: str
    study: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    measured: str
    on: str
    caution: str
    draws: int
    seed: int
    source: str = ""
    higher_is_better: bool | None = None
    maps: tuple[NamedMap, ...] = field(default=())

    def draws_of(self, series: Series) -> int:
        """Return the number of independent draws per point of one of its curves."""
        return self.draws if series.draws is None else series.draws
