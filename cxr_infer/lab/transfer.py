"""Task transfer function of a slanted edge at several contrasts, doses and noises.

After Richard et al., Med. Phys. 39(7), 2012, Samei and Richard, Med. Phys. 42(1), 2015, and the report of AAPM Task
Group 233 (2019): nonlinear methods have no single MTF, so that the resolution is measured at a stated contrast and
dose, on the mean over many noisy images. As in IEC 62220-1-1, the edge leans by a little, so that its pixels sample the
edge spread function finely; the line spread function is its derivative, and the transfer function the modulus of that
one's Fourier transform, 1 at frequency 0.

What is transformed is the difference of a flat field with and without the edge, in equal noise: what the noise leaves
in both falls out. The result is over that of the images before denoising, so that the edge's own pixels fall out too:
1 everywhere for the identity, and the MTF for a linear filter.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.conditions import Condition, conditions, exposures, in_equal_noise
from cxr_infer.lab.findings import Axis, Finding, Series
from cxr_infer.lab.methods import run
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.setting import Arrays, Method, Setting, Work
from cxr_infer.lab.signals import EDGE_ANGLE, draw
from cxr_infer.lab.statistics import estimates

Array = NDArray[np.float64]
Bins = NDArray[np.intp]

NAME = "transfer"
CONTRASTS = (10.0, 80.0)  # gray levels, where the protocol names none
BRIGHTNESS = 0.5  # in the middle of the edge
LEAST_SIDE, MOST_SIDE = 128, 256  # px
MARGIN = 16  # px at each border that are left out
REACH = 32  # px to either side of the edge
TAPERED_FROM = 0.5  # share of the reach from which the line spread function is faded out
OVERSAMPLING = 5  # bins a pixel along a row; the edge moves by a tenth of a pixel from row to row
FREQUENCIES = np.linspace(0, 0.5, 21)  # cycles/px


def study(setting: Setting, work: Work) -> list[Finding]:
    """One finding for each contrast: the transfer function for every method and condition."""
    under = conditions(setting.protocol)
    contrasts = sorted({abs(contrast) for contrast in setting.protocol.contrasts} - {0.0}) or list(CONTRASTS)
    work.expect(len(contrasts) * len(under) * len(setting.methods))
    return [_finding(setting, work, contrast, under) for contrast in contrasts]


def _finding(setting: Setting, work: Work, contrast: float, under: list[Condition]) -> Finding:
    protocol, series = setting.protocol, []
    frequencies = FREQUENCIES if protocol.spacing is None else FREQUENCIES / protocol.spacing
    for method in setting.methods:
        for condition in under:
            unit = work.unit(
                f"{NAME}/{contrast:g}/{condition.name}/{method.name}",
                partial(edge_spreads, setting, method, condition, contrast),
            )
            spreads = np.stack([np.asarray(unit[key], np.float64) for key in ("after", "before")], axis=-1)
            found = estimates(spreads, transfer, seed=protocol.seed)
            series.append(Series(method.name, condition.name, tuple(frequencies.tolist()), found))
    return Finding(
        key=f"{NAME}/edge-{contrast:g}",
        study=NAME,
        title=f"Task transfer function of an edge of {contrast:g} gray levels",
        x=Axis("spatial frequency", "cycles/px" if protocol.spacing is None else "cycles/mm"),
        y=Axis("task transfer function"),
        series=tuple(series),
        measured="The modulus of the Fourier transform of the mean line spread function after denoising, over the one "
        "before, both 1 at frequency 0.",
        on=f"A slanted edge in the middle of a flat field of {side_of(setting)} px at mid-gray, with and without the "
        "edge in equal noise.",
        caution="It holds for an edge of this contrast at this dose; fainter or smaller things may be blurred more. "
        "Where a method erases the edge itself, its interval is wide.",
        draws=protocol.draws,
        seed=protocol.seed,
        source="Richard et al., Med. Phys. 39(7), 2012; Samei and Richard, Med. Phys. 42(1), 2015; AAPM TG-233, 2019; "
        "IEC 62220-1-1.",
        higher_is_better=True,
    )


def side_of(setting: Setting) -> int:
    """px of the flat field; even."""
    return min(max(setting.protocol.side // 2 * 2, LEAST_SIDE), MOST_SIDE)


def edge_spreads(setting: Setting, method: Method, condition: Condition, contrast: float) -> Arrays:
    """`after` and `before`, (draws, bins): edge spread functions in [0, 1] units, of each draw."""
    side = side_of(setting)
    flat = np.full((side, side), BRIGHTNESS, np.float32)
    edge = flat - np.float32(contrast / 510) + draw(Signal("edge", 1.0, contrast), flat.shape, centre_of(side))
    found: dict[str, list[Array]] = {"after": [], "before": []}
    for noisy, told in exposures(setting, condition, "flat", flat):
        with_edge = in_equal_noise(flat, noisy, edge)
        found["before"].append(edge_spread(with_edge - noisy))
        found["after"].append(edge_spread(run(method, with_edge, told) - run(method, noisy, told)))
    return {key: np.stack(spreads) for key, spreads in found.items()}


def centre_of(side: int) -> tuple[float, float]:
    """Row and column of the middle of a field."""
    return (side - 1) / 2, (side - 1) / 2


@lru_cache(maxsize=2)
def _bins(side: int) -> tuple[Bins, Bins]:
    """Of the pixels of a field that count: places in the flattened image, and the bin in which each lies.

    Along a row, pixels lie at tenths of a pixel from the edge, and a bin is two of them wide, so that each has as many.
    """
    row, column = centre_of(side)
    y, x = np.mgrid[:side, :side]
    tenths = np.rint(10 * (x - column) + (y - row) - 0.5).astype(np.intp)  # floor, of what are halves
    inside = (np.abs(tenths + 0.5) < 10 * REACH) & (np.minimum(y, side - 1 - y) >= MARGIN)
    return np.flatnonzero(inside), (tenths[inside] + 10 * REACH) * OVERSAMPLING // 10


def edge_spread(difference: FloatImage) -> Array:
    """The mean across the edge in bins of a fifth of a pixel: (2 * REACH * OVERSAMPLING,), from dark to bright."""
    where, bins = _bins(difference.shape[0])
    total = np.bincount(bins, difference.ravel()[where].astype(np.float64), minlength=2 * REACH * OVERSAMPLING)
    return np.asarray(total / np.bincount(bins, minlength=2 * REACH * OVERSAMPLING))


def transfer(spreads: Array) -> Array:
    """Edge spread functions (draws, bins, 2), after and before -> the transfer function at FREQUENCIES."""
    after, before = np.moveaxis(spreads.mean(axis=0), -1, 0)
    return np.asarray(modulation(after) / modulation(before))


def modulation(spread: Array) -> Array:
    """Modulus of the Fourier transform of an edge spread function's derivative at FREQUENCIES, 1 at frequency 0."""
    spectrum = np.abs(_transform(len(spread) - 1) @ np.diff(spread))
    return np.asarray(spectrum / spectrum[0])


@lru_cache(maxsize=1)
def _transform(bins: int) -> NDArray[np.complex128]:
    """(frequencies, bins): fades a line spread function out towards its ends, and transforms it."""
    distance = (np.arange(bins) - (bins - 1) / 2) / OVERSAMPLING  # px along a row
    taper = np.clip((np.abs(distance) / REACH - TAPERED_FROM) / (1 - TAPERED_FROM), 0, 1)
    phase = 2 * np.pi * np.outer(FREQUENCIES, distance * np.cos(EDGE_ANGLE))
    return np.asarray(np.exp(-1j * phase) * np.cos(np.pi / 2 * taper) ** 2)
