"""Linearity: the share of a signal's contrast that a method keeps, against that contrast.

A signal is laid into a clean image at several places, and the image exposed with and without it in equal noise. Both
are denoised; the difference of the two results is projected on the signal, and so is the difference of the two inputs.
The share kept is the ratio of the two projections: 1 for the identity, 0 where the signal is erased, above 1 where it
is exaggerated. A linear filter h keeps <h * s, s> / <s, s> of a signal s at every contrast.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.conditions import Condition, at_contrasts, conditions, exposures, in_equal_noise, unit_of_length
from cxr_infer.lab.findings import Axis, Estimate, Finding, Series
from cxr_infer.lab.methods import run
from cxr_infer.lab.protocol import Protocol, Signal
from cxr_infer.lab.setting import Arrays, Method, Setting, Work
from cxr_infer.lab.signals import around, lay, places, surroundings
from cxr_infer.lab.statistics import estimates

Array = NDArray[np.float64]

NAME = "contrast-kept"
PLACES = 8  # of a signal in one image, at most
EDGE = "edge"  # which has no place; `transfer` measures it


def study(setting: Setting, work: Work) -> list[Finding]:
    """One finding for each kind, size and sign of signal: the share kept against contrast, for every condition."""
    signals = _distinct(setting.protocol.signals)
    under = conditions(setting.protocol)
    work.expect(len(signals) * len(under) * len(setting.methods) * len(setting.images))
    return [_finding(setting, work, signal, under) for signal in signals]


def _distinct(signals: tuple[Signal, ...]) -> list[Signal]:
    """Those that differ by more than the size of their contrast, without edges."""
    found = {(one.kind, one.size, one.contrast > 0): one for one in signals if one.kind != EDGE}
    return list(found.values())


def _finding(setting: Setting, work: Work, signal: Signal, under: list[Condition]) -> Finding:
    series = []
    for method in setting.methods:
        for condition in under:
            parts = [
                work.unit(
                    f"{NAME}/{_key(signal, setting.protocol)}/{condition.name}/{method.name}/{name}",
                    partial(projections, setting, method, condition, signal, name, clean),
                )
                for name, clean in setting.images.items()
            ]
            series.append(_series(method.name, condition.name, signal, setting.protocol, parts))
    return Finding(
        key=f"{NAME}/{_key(signal, setting.protocol)}",
        study=NAME,
        title=f"Contrast kept of a {signal.kind} of {signal.size:g} {unit_of_length(setting.protocol)}",
        x=Axis("contrast", "gray levels", logarithmic=True),
        y=Axis("share of the contrast kept"),
        series=tuple(series),
        measured="The difference that the signal makes after denoising, over the difference that it made before, both "
        "projected on the signal.",
        on=f"Up to {PLACES} places in each of {len(setting.images)} images, exposed with and without the signal in "
        "equal noise.",
        caution="Keeping contrast is not detecting it: noise that stays may hide what is kept. It holds for this size, "
        "contrast and dose, and for surroundings as flat as these.",
        draws=setting.protocol.draws,
        seed=setting.protocol.seed,
        source="Projection on the known signal; the contrast transfer of nonlinear methods depends on contrast and "
        "dose: Richard et al., Med. Phys. 39(7), 2012.",
        higher_is_better=True,
    )


def _key(signal: Signal, protocol: Protocol) -> str:
    sign = "" if signal.contrast > 0 or signal.kind == "dark-line" else "-dark"
    return f"{signal.kind}-{signal.size:g}{unit_of_length(protocol)}{sign}"


def projections(
    setting: Setting, method: Method, condition: Condition, signal: Signal, name: str, clean: FloatImage
) -> Arrays:
    """Of one image: `kept` and `given`, (draws, places, contrasts): projections on the signal after and before."""
    protocol = setting.protocol
    signals = at_contrasts(signal, protocol.contrasts)
    centres = places(clean, signals[-1], protocol.seed, PLACES, protocol.spacing)
    half = surroundings(signal, protocol.spacing)
    squares = [around(centre, half, clean.shape) for centre in centres]
    marked = [lay(clean, one, centres, protocol.spacing) for one in signals]
    kept, given = [], []
    for noisy, told in exposures(setting, condition, name, clean):
        without = run(method, noisy, told)
        of_draw = []
        for image in marked:
            before = in_equal_noise(clean, noisy, image)
            after = run(method, before, told)
            of_draw.append([list(_projected(image - clean, squares, one)) for one in (after - without, before - noisy)])
        kept.append([after for after, _ in of_draw])
        given.append([before for _, before in of_draw])
    return {key: np.moveaxis(np.array(found), 1, 2) for key, found in (("kept", kept), ("given", given))}


def _projected(signal: FloatImage, squares: list[tuple[slice, slice]], difference: FloatImage) -> Iterator[float]:
    """Of a difference of two images on the signal, around each place."""
    for square in squares:
        yield float((difference[square].astype(np.float64) * signal[square]).sum())


def _series(method: str, condition: str, signal: Signal, protocol: Protocol, parts: list[Arrays]) -> Series:
    pair = (np.concatenate([np.asarray(part[key], np.float64) for part in parts], axis=1) for key in ("kept", "given"))
    found: tuple[Estimate, ...] = estimates(np.stack(list(pair), axis=-1), share_kept, seed=protocol.seed, axes=(0, 1))
    contrasts = tuple(abs(one.contrast) for one in at_contrasts(signal, protocol.contrasts))
    return Series(method, condition, contrasts, found)


def share_kept(values: Array) -> Array:
    """(draws, places, contrasts, 2), after and before -> (contrasts,): the ratio of the sums."""
    after, before = np.moveaxis(values.sum(axis=(0, 1)), -1, 0)
    return np.asarray(after / before)
