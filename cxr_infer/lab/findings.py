"""What the lab found: figures with their uncertainty, and with them what they are about and what they do not mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from cxr_infer.imaging.pixels import FloatImage


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95% interval; an exact one has both ends at the value."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        return cls(value, value, value)


@dataclass(frozen=True)
class Axis:
    """A quantity and its unit, "" for a pure number. logarithmic: how it is drawn."""

    name: str
    unit: str = ""
    logarithmic: bool = False


@dataclass(frozen=True)
class Series:
    """One curve. method: what was measured, such as "window". condition: under what, such as "200 photons, white".

    x and y have one length. draws: where it rests on fewer independent draws than the finding's other curves, how many.
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
    caution: a sentence each: what was measured, on what, and what it does not mean. draws: how many independent draws
    (or images, or frames) each point rests on. source: where the formula is from. maps: beside the curves, if any.
    higher_is_better: None where neither is.
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
        """How many independent draws each point of one of its curves rests on."""
        return self.draws if series.draws is None else series.draws
