"""Study: task transfer function of a slanted edge, or of a disc, at several contrasts, doses and noises.

After Richard et al., Med. Phys. 39(7), 2012, Samei and Richard, Med. Phys. 42(1), 2015, and the report of AAPM Task
Group 233 (2019): nonlinear methods have no single MTF, so the resolution is measured at a stated contrast and dose, on
the mean over many noisy images. As in IEC 62220-1-1 the edge is slightly slanted, so that its pixels sample the edge
spread function finely; a disc's rim does so by itself. The line spread function is the derivative, and the transfer
function the modulus of its Fourier transform, 1 at frequency 0.

The transformed signal is the difference of a flat field with and without the edge, in equal noise, which cancels. The
result is divided by that of the images before denoising, so that the edge's own pixels cancel too: it is 1 for the
identity, and the MTF for a linear filter. Across the rim of a disc this holds as far as the rim is straight: to about
the square of the filter's width over the radius.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.conditions import (
    FLAT,
    Condition,
    at_contrasts,
    conditions,
    exposures,
    in_equal_noise,
)
from cxr_infer.lab.edge_spread import (
    FREQUENCIES,
    LEAST_RADIUS,
    OF_RADIUS,
    Sampling,
    centre_of,
    edge_spread,
    half_frequency,
    sample_edge,
    sample_rim,
    transfer,
)
from cxr_infer.lab.findings import Axis, Finding, Series
from cxr_infer.lab.methods import run
from cxr_infer.lab.protocol import FIELD_BRIGHTNESS, Protocol, Signal
from cxr_infer.lab.setting import Method, NamedArrays, Setting, UnitStore
from cxr_infer.lab.signals import draw, pixels
from cxr_infer.lab.statistics import estimate, estimates, scaled

Spreads = Mapping[tuple[str, Condition], NamedArrays]  # method and condition -> see `edge_spreads`

NAME = "transfer"
EDGE, DISC = "edge", "disc"
SOURCE = (
    "Richard et al., Med. Phys. 39(7), 2012; Samei and Richard, Med. Phys. 42(1), 2015; AAPM TG-233, 2019; "
    "IEC 62220-1-1."
)
CONTRASTS = (10.0, 80.0)  # gray levels, if the protocol has none
LEAST_SIDE, MOST_SIDE = 128, 192  # px


def study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Return, for the edge and every disc, resolution against contrast and the function at each contrast."""
    under = conditions(setting.protocol)
    contrasts = setting.protocol.contrasts or CONTRASTS
    by_kind = [at_contrasts(sharp, contrasts) for sharp in _sharp_signals(setting)]
    signals = [one for at in by_kind for one in at]
    work.expect(len(under) * len(setting.methods))
    spreads = {
        (method.name, condition): work.unit(
            f"{NAME}/{condition.name}/{setting.key_of(method)}",
            partial(edge_spreads, setting, method, condition, signals),
        )
        for method in setting.methods
        for condition in under
    }
    halves = [_half(setting, at, under, spreads) for at in by_kind]
    return [*halves, *(_finding(setting, signal, under, spreads) for signal in signals)]


def _sharp_signals(setting: Setting) -> list[Signal]:
    """Return an edge, and the protocol's discs by size and sign that are large enough and fit into the field."""
    found = {(EDGE, 0.0, True): Signal(EDGE, 1.0, 1.0)}
    for one in setting.protocol.signals:
        radius = pixels(one.size, setting.protocol.spacing) / 2
        if one.kind == DISC and LEAST_RADIUS <= radius <= side_of(setting) / 2 / (1 + OF_RADIUS) - 1:
            found[one.kind, one.size, one.contrast > 0] = one
    return list(found.values())


def _finding(setting: Setting, signal: Signal, under: list[Condition], spreads: Spreads) -> Finding:
    protocol, series = setting.protocol, []
    name, thing = _key(signal, setting), _in_words(signal, setting)
    frequencies = tuple((FREQUENCIES * _to_unit(setting)).tolist())
    for method in setting.methods:
        for condition in under:
            found = estimates(spreads[method.name, condition][name], transfer, seed=protocol.seed)
            series.append(Series(method.name, condition.name, frequencies, found, protocol.fewer(method.name)))
    return Finding(
        key=f"{NAME}/{name}",
        study=NAME,
        title=f"Task transfer function of {thing} of {signal.contrast:g} gray levels",
        x=Axis("spatial frequency", _unit(setting)),
        y=Axis("task transfer function"),
        series=tuple(series),
        measured="Modulus of the Fourier transform of the mean line spread function after denoising, divided by that "
        "before, both 1 at frequency 0.",
        on=_on(signal, setting),
        caution=f"It holds for {thing} of this contrast at this dose; fainter or smaller objects may be blurred more. "
        f"It shows the shape of the edge within {sampling_of(signal, setting).half:.0f} px, not how much of the step "
        "is left. Where a method erases the edge, the interval is wide.",
        draws=protocol.draws,
        seed=protocol.seed,
        source=SOURCE,
        higher_is_better=True,
    )


def _half(setting: Setting, at: list[Signal], under: list[Condition], spreads: Spreads) -> Finding:
    """Summarise the resolution against contrast, one number each. at: one signal at every contrast."""
    protocol, series = setting.protocol, []
    for method in setting.methods:
        for condition in under:
            every = (spreads[method.name, condition][_key(signal, setting)] for signal in at)
            found = (estimate(each, half_frequency, seed=protocol.seed) for each in every)
            points = tuple(scaled(point, _to_unit(setting)) for point in found)
            contrasts = tuple(abs(one.contrast) for one in at)
            series.append(Series(method.name, condition.name, contrasts, points, protocol.fewer(method.name)))
    thing = _in_words(at[0], setting)
    return Finding(
        key=f"{NAME}/half-{_key(at[0], setting).rsplit('-', 1)[0]}",
        study=NAME,
        title=f"Resolution of {thing} against its contrast",
        x=Axis("contrast", "gray levels", logarithmic=True),
        y=Axis("frequency at which the transfer function is a half", _unit(setting)),
        series=tuple(series),
        measured="Frequency at which the task transfer function first falls to a half, or the highest that pixels can "
        "represent if it does not.",
        on=_on(at[0], setting),
        caution="A rising curve means that faint edges are blurred more than strong ones: no single figure of "
        "resolution describes such a method.",
        draws=protocol.draws,
        seed=protocol.seed,
        source=SOURCE,
        higher_is_better=True,
    )


def _unit(setting: Setting) -> str:
    return "cycles/px" if setting.protocol.spacing is None else "cycles/mm"


def _to_unit(setting: Setting) -> float:
    """Return the factor from cycles/px to the unit of the axis."""
    return 1 / (setting.protocol.spacing or 1)


def _in_words(signal: Signal, setting: Setting) -> str:
    return "an edge" if signal.kind == EDGE else f"a disc of {signal.size:g} {setting.protocol.unit_of_length}"


def _on(signal: Signal, setting: Setting) -> str:
    thing = _in_words(signal, setting)
    return (
        f"{thing[0].upper()}{thing[1:]} in the middle of a flat field of {side_of(setting)} px at mid-gray, with and "
        "without it in equal noise."
    )


def _key(signal: Signal, setting: Setting) -> str:
    size = "" if signal.kind == EDGE else f"-{signal.size:g}{setting.protocol.unit_of_length}"
    return f"{signal.kind}{size}-{'dark-' if signal.contrast < 0 else ''}{abs(signal.contrast):g}"


def sampling_of(signal: Signal, setting: Setting) -> Sampling:
    """Return the sampling of the field with an edge or a disc. Raises UsageError if the disc is too small."""
    side = side_of(setting)
    if signal.kind == EDGE:
        return sample_edge(side)
    return sample_rim(side, pixels(signal.size, setting.protocol.spacing) / 2)


def side_of(setting: Setting) -> int:
    """Return the side of the flat field in px; even."""
    return min(max(setting.protocol.side // 2 * 2, LEAST_SIDE), MOST_SIDE)


def edge_spreads(setting: Setting, method: Method, condition: Condition, signals: Sequence[Signal]) -> NamedArrays:
    """Return for each edge and disc, by key: (draws, bins, 2), edge spread functions after and before, [0, 1] units.

    The flat field without them is shared and denoised once per draw.
    """
    side = side_of(setting)
    flat = np.full((side, side), FIELD_BRIGHTNESS, np.float32)
    sampled = [sampling_of(signal, setting) for signal in signals]
    marked = [_marked(flat, signal, setting.protocol) for signal in signals]
    found: dict[str, list[Float64Array]] = {_key(signal, setting): [] for signal in signals}
    for noisy, told in exposures(setting, condition, FLAT, flat, setting.draws_of(method)):
        without = run(method, noisy, told)
        for spreads, one, image in zip(found.values(), sampled, marked, strict=True):
            before = in_equal_noise(flat, noisy, image)
            after = run(method, before, told)
            spreads.append(np.stack([edge_spread(after - without, one), edge_spread(before - noisy, one)], axis=-1))
    return {key: np.stack(spreads) for key, spreads in found.items()}


def _marked(flat: FloatImage, signal: Signal, protocol: Protocol) -> FloatImage:
    """Return the field with the signal; an edge has the field's brightness in its middle."""
    below = np.float32(signal.contrast / 510 if signal.kind == EDGE else 0)
    shape = (flat.shape[0], flat.shape[1])
    return flat - below + draw(signal, shape, centre_of(shape[0]), protocol.spacing, protocol.blur)
