"""Study: the faintest disc of each size that can be told from noise, before and after denoising.

As with a CDRAD phantom (Thijssen et al., A definition of image quality: the image quality figure, BIR Report 20, 1989)
read by a channelised Hotelling observer: a disc with d' >= THRESHOLD counts as seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab import signals
from cxr_infer.lab.conditions import Condition
from cxr_infer.lab.crossing import crossing
from cxr_infer.lab.detectability import with_noisy
from cxr_infer.lab.detectability_findings import OBSERVER
from cxr_infer.lab.findings import DOSE, Axis, Estimate, Finding, Series
from cxr_infer.lab.jackknife import groups_of, jackknife
from cxr_infer.lab.noise import expose, find_detector, generator, spectrum_at
from cxr_infer.lab.observed import COMPACT, ObservedScene, Scene, observe, scene_of, window_side
from cxr_infer.lab.observer import analytic_d_prime, difference_of_gaussians, median_d_prime
from cxr_infer.lab.protocol import FIELD_BRIGHTNESS, GRAY_LEVELS, Protocol, Signal
from cxr_infer.lab.setting import Setting, UnitStore

NAME = "contrast-detail"
THRESHOLD = 2.0  # d'; 92% correct in a two-alternative choice
CONTRAST_STEPS = (0.5, 1.0, 2.0, 4.0)  # measured contrasts, relative to the expected threshold
STRONGEST = 60.0  # gray levels of a disc; a stronger one fits only in dark places
FEWEST_SIZES, SMALLEST = 3, 2.0  # px
NOT_COMPARED = (
    "Thresholds of a model observer, lower than a reader's; compare methods measured with one protocol, not with CDRAD "
    "readings."
)


@dataclass(frozen=True)
class Threshold:
    """contrast: gray levels, None if outside the measured contrasts. above: whether it lies above them then."""

    contrast: Estimate | None
    above: bool
    left_out: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """Thresholds at one dose. thresholds: of each size, by noise and method."""

    scene: Scene
    sizes: Sequence[float]
    dose: float
    thresholds: Mapping[tuple[str, str], Sequence[Threshold]]


def study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Return threshold contrast against size at the middle dose, and an inverse image quality figure."""
    protocol, methods = setting.protocol, with_noisy(setting.methods)
    sizes, dose = sizes_of(protocol), middle_dose(protocol)
    work.expect(len(protocol.noises) * len(methods))
    thresholds, scene = {}, None
    for noise in protocol.noises:
        scene = scene_of(setting, [disc for size in sizes for disc in _discs(setting, size, noise, dose)])
        for method in methods:
            seen = observe(setting, work, scene, noise, dose, method)
            thresholds[noise, method.name] = _thresholds(seen, len(sizes))
    if scene is None:
        raise UsageError("the study contrast-detail needs a noise; add a noise to the protocol")
    found = Measurement(scene, sizes, dose, thresholds)
    return [_curves(protocol, found), _figure(protocol, found)]


def sizes_of(protocol: Protocol) -> list[float]:
    """Return the sizes of the protocol's compact signals; if there are few, a geometric series over a wider range.

    Raises UsageError if there are none.
    """
    sizes = sorted({signal.size for signal in protocol.signals if signal.kind in COMPACT})
    if not sizes:
        raise UsageError("the study contrast-detail needs a disc or nodule; add such a signal to the protocol")
    if len(sizes) >= FEWEST_SIZES:
        return sizes
    smallest = max(sizes[0] / 2, SMALLEST * (protocol.spacing or 1.0))
    return [float(f"{size:.2g}") for size in np.geomspace(min(smallest, sizes[-1] / 2), sizes[-1], FEWEST_SIZES)]


def _discs(setting: Setting, size: float, noise: str, dose: float) -> list[Signal]:
    """Return discs of one size with contrasts around the one at which d' before denoising is expected to be
    THRESHOLD.
    """
    protocol, made = setting.protocol, setting.noise(noise)
    detector = find_detector(made) if isinstance(made, str) else made
    image = next(iter(setting.images.values()))
    _, told = expose(image, made, dose, generator(protocol.seed))
    sd = float(np.interp(FIELD_BRIGHTNESS, told.curve[:, 0], told.curve[:, 1]))
    side = window_side([Signal("disc", size, 1.0)], protocol.spacing)
    centre = (side // 2, side // 2)
    drawn = signals.draw(Signal("disc", size, GRAY_LEVELS), (side, side), centre, protocol.spacing, protocol.blur)
    spectrum = spectrum_at(detector.spectrum, (side, side))
    channels = difference_of_gaussians(side)
    expected = THRESHOLD / analytic_d_prime(drawn.astype(np.float64), channels, sd, spectrum)
    return [
        Signal("disc", size, float(f"{min(GRAY_LEVELS * expected * step, STRONGEST):.2g}")) for step in CONTRAST_STEPS
    ]


def middle_dose(protocol: Protocol) -> float:
    return sorted(protocol.doses)[len(protocol.doses) // 2]


def _thresholds(seen: ObservedScene, sizes: int) -> list[Threshold]:
    """Return the threshold of each size. The scene's signals are ordered by size, then contrast."""
    groups = int(groups_of(seen.scene.draws)[-1]) + 1
    found = []
    for number in range(sizes):
        indices = range(number * len(CONTRAST_STEPS), (number + 1) * len(CONTRAST_STEPS))
        contrasts = np.array([seen.scene.signals[index].contrast for index in indices])
        d_primes = np.array([median_d_prime(*seen.ratings(index)) for index in indices])
        left_out = [
            np.array([median_d_prime(*seen.ratings(index, group)) for index in indices]) for group in range(groups)
        ]
        found.append(threshold(contrasts, d_primes, left_out))
    return found


def threshold(contrasts: Float64Array, d_primes: Float64Array, left_out: Sequence[Float64Array]) -> Threshold:
    """Find the contrast with d' = THRESHOLD by linear interpolation, never extrapolating.

    left_out: d' without each group of draws. If some of these have no threshold within the measured contrasts, the
    nearest end is used, and the interval extends to it.
    """
    value = crossing(contrasts, d_primes, THRESHOLD)
    if value is None:
        return Threshold(None, above=bool(d_primes.max() < THRESHOLD))
    others = [crossing(contrasts, each, THRESHOLD) for each in left_out]
    ends = [contrasts[-1 if each.max() < THRESHOLD else 0] for each in left_out]
    interval = jackknife(value, np.array([end if c is None else c for c, end in zip(others, ends, strict=True)]))
    low, high = np.clip([interval.low, interval.high], contrasts[0], contrasts[-1])
    return Threshold(Estimate(value, float(low), float(high)), False, tuple(others))


def _curves(protocol: Protocol, found: Measurement) -> Finding:
    series, beyond = [], []
    for (noise, method), row in found.thresholds.items():
        points = {size: t.contrast for size, t in zip(found.sizes, row, strict=True) if t.contrast is not None}
        beyond += [
            f"{method}, {noise}, {size:g} {protocol.unit_of_length}: {'above' if t.above else 'below'}"
            for size, t in zip(found.sizes, row, strict=True)
            if t.contrast is None
        ]
        if points:
            fewer = protocol.fewer(method)
            series.append(
                Series(method, Condition(noise, found.dose).name, tuple(points), tuple(points.values()), fewer)
            )
    outside = f" Outside the measured contrasts: {'; '.join(beyond)}." if beyond else ""
    return Finding(
        key=f"{NAME}/threshold",
        study=NAME,
        title="Contrast-detail curve: the faintest disc seen",
        x=Axis("diameter", protocol.unit_of_length, logarithmic=True),
        y=Axis("threshold contrast", "gray levels of 255", logarithmic=True),
        series=tuple(series),
        measured=f"Contrast at which a disc has a d' of {THRESHOLD:g} for a channelised Hotelling observer that knows "
        f"its place, interpolated between the measured contrasts.{outside}",
        on=_on(found),
        caution=NOT_COMPARED,
        draws=found.scene.draws,
        seed=protocol.seed,
        source=OBSERVER,
        higher_is_better=False,
    )


def _figure(protocol: Protocol, found: Measurement) -> Finding:
    series, missing = [], []
    for (noise, method), row in found.thresholds.items():
        value = inverse_figure(found.sizes, row)
        if value is None:
            missing.append(f"{method}, {noise}")
        else:
            series.append(Series(method, noise, (found.dose,), (value,), protocol.fewer(method)))
    left = f" Left out, because a size has no threshold within the contrasts: {'; '.join(missing)}." if missing else ""
    return Finding(
        key=f"{NAME}/figure",
        study=NAME,
        title="Inverse image quality figure, after CDRAD",
        x=DOSE,
        y=Axis("inverse image quality figure", f"1 / (gray level {protocol.unit_of_length})"),
        series=tuple(series),
        measured="100 over the sum of diameter times threshold contrast over the sizes of the contrast-detail curve.",
        on=_on(found),
        caution=f"It depends on which sizes are summed: here {', '.join(f'{size:g}' for size in found.sizes)} "
        f"{protocol.unit_of_length}.{left} {NOT_COMPARED}",
        draws=found.scene.draws,
        seed=protocol.seed,
        source="IQFinv = 100 / sum of C_i D_i,th (CDRAD 2.0 manual, Artinis), here with C_i,th of fixed D_i",
        higher_is_better=True,
    )


def inverse_figure(sizes: Sequence[float], row: Sequence[Threshold]) -> Estimate | None:
    """Return 100 / sum of size times threshold contrast; None if a size has no threshold."""
    contrasts = [t.contrast.value for t in row if t.contrast is not None]
    if len(contrasts) < len(sizes):
        return None
    left_out = []
    for others in zip(*(t.left_out for t in row), strict=True):
        known = [value if other is None else other for other, value in zip(others, contrasts, strict=True)]
        left_out.append(100 / float(np.dot(sizes, known)))
    value = 100 / float(np.dot(sizes, contrasts))
    interval = jackknife(value, np.array(left_out))
    return Estimate(value, max(interval.low, 0.0), interval.high)


def _on(found: Measurement) -> str:
    scene = found.scene
    return (
        f"{scene.where}, {scene.draws} draws without discs and {scene.draws} with one at every place, in turn one of "
        f"{len(scene.signals)}; {found.dose:g} photons at white."
    )
