"""Task transfer function of a slanted edge, or of a disc, at several contrasts, doses and noises.

After Richard et al., Med. Phys. 39(7), 2012, Samei and Richard, Med. Phys. 42(1), 2015, and the report of AAPM Task
Group 233 (2019): nonlinear methods have no single MTF, so that the resolution is measured at a stated contrast and
dose, on the mean over many noisy images. As in IEC 62220-1-1 the edge leans by a little, so that its pixels sample the
edge spread function finely; a disc's rim does so by itself. The line spread function is its derivative, and the
transfer function the modulus of that one's Fourier transform, 1 at frequency 0.

What is transformed is the difference of a flat field with and without the edge, in equal noise: what the noise leaves
in both falls out. The result is over that of the images before denoising, so that the edge's own pixels fall out too:
1 everywhere for the identity, and the MTF for a linear filter. Across the rim of a disc that holds as far as the rim is
straight: to about the square of the filter's width over the radius.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.conditions import (
    Condition,
    at_contrasts,
    conditions,
    exposures,
    in_equal_noise,
    unit_of_length,
)
from cxr_infer.lab.findings import Axis, Finding, Series
from cxr_infer.lab.methods import run
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.setting import Arrays, Method, Setting, Work
from cxr_infer.lab.signals import EDGE_ANGLE, draw, pixels, turned
from cxr_infer.lab.statistics import estimates

Array = NDArray[np.float64]
Bins = NDArray[np.intp]
Spreads = Mapping[tuple[str, Condition], Arrays]  # method and condition -> see `edge_spreads`

NAME = "transfer"
EDGE, DISC = "edge", "disc"
CONTRASTS = (10.0, 80.0)  # gray levels, where the protocol names none
BRIGHTNESS = 0.5  # in the middle of the edge, or around the disc
LEAST_SIDE, MOST_SIDE = 128, 192  # px
MARGIN = 16  # px at each border that are left out
REACH = 32  # px to either side of the edge, at most
OF_RADIUS = 0.8  # share of a disc's radius that is looked at to either side of its rim
LEAST_RADIUS = 8.0  # px of a disc whose rim is straight enough
TAPERED_FROM = 0.5  # share of the reach from which the line spread function is faded out
OVERSAMPLING = 5  # bins a pixel
OFF_CENTRE = (0.19, -0.27)  # px
FREQUENCIES = np.linspace(0, 0.5, 21)  # cycles/px


@dataclass(frozen=True)
class Sampling:
    """How pixels of a field sample an edge spread function.

    where: places in the flattened field that count; bins: in which bin each lies; distances: mean distance of each
    bin's pixels from the edge, px, ascending; half: px to either side of the edge at which the function is wanted.
    """

    where: Bins
    bins: Bins
    distances: Array
    half: float

    @staticmethod
    def of(distance: Array, half: float, counted: NDArray[np.bool_]) -> Sampling:
        """Of pixels at a signed distance from the edge, px. counted: those that may be used."""
        inside = counted & (np.abs(distance) < half)
        _, bins = np.unique(np.floor((distance[inside] + half) * OVERSAMPLING), return_inverse=True)
        mean = np.bincount(bins, distance[inside]) / np.bincount(bins)
        return Sampling(np.flatnonzero(inside), bins.astype(np.intp), np.asarray(mean), half)

    @property
    def grid(self) -> Array:
        """Distances, even, at which the function is given."""
        return np.asarray((np.arange(int(2 * self.half * OVERSAMPLING)) + 0.5) / OVERSAMPLING - self.half)


def study(setting: Setting, work: Work) -> list[Finding]:
    """One finding for each contrast of the edge, and of every disc: the function for every method and condition."""
    under = conditions(setting.protocol)
    contrasts = setting.protocol.contrasts or CONTRASTS
    signals = [one for sharp in _sharp_signals(setting) for one in at_contrasts(sharp, contrasts)]
    work.expect(len(under) * len(setting.methods))
    spreads = {
        (method.name, condition): work.unit(
            f"{NAME}/{condition.name}/{method.name}", partial(edge_spreads, setting, method, condition, signals)
        )
        for method in setting.methods
        for condition in under
    }
    return [_finding(setting, signal, under, spreads) for signal in signals]


def _sharp_signals(setting: Setting) -> list[Signal]:
    """An edge, and the protocol's discs by size and sign that are large enough and fit into the field."""
    found = {(EDGE, 0.0, True): Signal(EDGE, 1.0, 1.0)}
    for one in setting.protocol.signals:
        radius = pixels(one.size, setting.protocol.spacing) / 2
        if one.kind == DISC and LEAST_RADIUS <= radius <= side_of(setting) / 2 / (1 + OF_RADIUS) - 1:
            found[one.kind, one.size, one.contrast > 0] = one
    return list(found.values())


def _finding(setting: Setting, signal: Signal, under: list[Condition], spreads: Spreads) -> Finding:
    protocol, series = setting.protocol, []
    frequencies = FREQUENCIES if protocol.spacing is None else FREQUENCIES / protocol.spacing
    sampled = sampling_of(signal, setting)
    name = _key(signal, setting)
    for method in setting.methods:
        for condition in under:
            found = estimates(spreads[method.name, condition][name], transfer, seed=protocol.seed)
            series.append(Series(method.name, condition.name, tuple(frequencies.tolist()), found))
    thing = "an edge" if signal.kind == EDGE else f"a disc of {signal.size:g} {unit_of_length(protocol)}"
    return Finding(
        key=f"{NAME}/{name}",
        study=NAME,
        title=f"Task transfer function of {thing} of {signal.contrast:g} gray levels",
        x=Axis("spatial frequency", "cycles/px" if protocol.spacing is None else "cycles/mm"),
        y=Axis("task transfer function"),
        series=tuple(series),
        measured="The modulus of the Fourier transform of the mean line spread function after denoising, over the one "
        "before, both 1 at frequency 0.",
        on=f"{thing[0].upper()}{thing[1:]} in the middle of a flat field of {side_of(setting)} px at mid-gray, with "
        "and without it in equal noise.",
        caution=f"It holds for {thing} of this contrast at this dose; fainter or smaller things may be blurred more. "
        f"It shows the shape of the edge within {sampled.half:.0f} px, not how much of the step is "
        "kept. Where a method erases the edge, its interval is wide.",
        draws=protocol.draws,
        seed=protocol.seed,
        source="Richard et al., Med. Phys. 39(7), 2012; Samei and Richard, Med. Phys. 42(1), 2015; AAPM TG-233, 2019; "
        "IEC 62220-1-1.",
        higher_is_better=True,
    )


def _key(signal: Signal, setting: Setting) -> str:
    size = "" if signal.kind == EDGE else f"-{signal.size:g}{unit_of_length(setting.protocol)}"
    return f"{signal.kind}{size}-{'dark-' if signal.contrast < 0 else ''}{abs(signal.contrast):g}"


def side_of(setting: Setting) -> int:
    """px of the flat field; even."""
    return min(max(setting.protocol.side // 2 * 2, LEAST_SIDE), MOST_SIDE)


def edge_spreads(setting: Setting, method: Method, condition: Condition, signals: Sequence[Signal]) -> Arrays:
    """Of each edge and disc by its key: (draws, bins, 2), edge spread functions after and before, [0, 1] units.

    The flat field without them is the same for all, and is denoised once a draw.
    """
    side = side_of(setting)
    flat = np.full((side, side), BRIGHTNESS, np.float32)
    sampled = [sampling_of(signal, setting) for signal in signals]
    marked = [_marked(flat, signal, setting.protocol.spacing) for signal in signals]
    found: dict[str, list[Array]] = {_key(signal, setting): [] for signal in signals}
    for noisy, told in exposures(setting, condition, "flat", flat):
        without = run(method, noisy, told)
        for spreads, one, image in zip(found.values(), sampled, marked, strict=True):
            before = in_equal_noise(flat, noisy, image)
            after = run(method, before, told)
            spreads.append(np.stack([edge_spread(after - without, one), edge_spread(before - noisy, one)], axis=-1))
    return {key: np.stack(spreads) for key, spreads in found.items()}


def _marked(flat: FloatImage, signal: Signal, spacing: float | None) -> FloatImage:
    """The field with the signal; an edge has the field's brightness in its middle."""
    below = np.float32(signal.contrast / 510 if signal.kind == EDGE else 0)
    return flat - below + draw(signal, (flat.shape[0], flat.shape[1]), centre_of(flat.shape[0]), spacing)


def centre_of(side: int) -> tuple[float, float]:
    """Row and column of about the middle of a field, off the pixels' symmetry: they sample more distances so."""
    return side / 2 + OFF_CENTRE[0], side / 2 + OFF_CENTRE[1]


def sampling_of(signal: Signal, setting: Setting) -> Sampling:
    """Of an edge or a disc. Raises UsageError for a disc too small for it."""
    side = side_of(setting)
    if signal.kind == EDGE:
        return _across_edge(side)
    radius = pixels(signal.size, setting.protocol.spacing) / 2
    if radius < LEAST_RADIUS:
        raise UsageError(f"disc {signal.name!r} is too small for a transfer function; use {2 * LEAST_RADIUS:g} px")
    return _across_rim(side, radius)


@lru_cache(maxsize=2)
def _across_edge(side: int) -> Sampling:
    row, column = centre_of(side)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    across, _ = turned(x - column, y - row, EDGE_ANGLE)
    return Sampling.of(across, REACH, np.minimum(y, side - 1 - y) >= MARGIN)


@lru_cache(maxsize=4)
def _across_rim(side: int, radius: float) -> Sampling:
    row, column = centre_of(side)
    y, x = np.mgrid[:side, :side]
    outwards = np.hypot(y - row, x - column) - radius
    return Sampling.of(outwards, min(REACH, OF_RADIUS * radius), np.ones((side, side), bool))


def edge_spread(difference: FloatImage, sampled: Sampling) -> Array:
    """The mean across the edge, at `sampled.grid`."""
    total = np.bincount(sampled.bins, difference.ravel()[sampled.where].astype(np.float64))
    return np.interp(sampled.grid, sampled.distances, total / np.bincount(sampled.bins))


def transfer(spreads: Array) -> Array:
    """Edge spread functions (draws, bins, 2), after and before -> the transfer function at FREQUENCIES."""
    after, before = np.moveaxis(spreads.mean(axis=0), -1, 0)
    return np.asarray(modulation(after) / modulation(before))


def modulation(spread: Array) -> Array:
    """Modulus of the Fourier transform of an edge spread function's derivative at FREQUENCIES, 1 at frequency 0."""
    spectrum = np.abs(_transform(len(spread) - 1) @ np.diff(spread))
    return np.asarray(spectrum / spectrum[0])


@lru_cache(maxsize=8)
def _transform(bins: int) -> NDArray[np.complex128]:
    """(frequencies, bins): fades a line spread function out towards its ends, and transforms it."""
    place = np.arange(bins) - (bins - 1) / 2
    taper = np.clip((np.abs(place) / ((bins + 1) / 2) - TAPERED_FROM) / (1 - TAPERED_FROM), 0, 1)
    phase = 2 * np.pi * np.outer(FREQUENCIES, place / OVERSAMPLING)
    return np.asarray(np.exp(-1j * phase) * np.cos(np.pi / 2 * taper) ** 2)
