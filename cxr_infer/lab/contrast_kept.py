"""Study: the fraction of a signal's contrast that a method preserves, against that contrast.

A clean image is exposed with and without signals in equal noise. Both are denoised; the difference of the two results
is projected on each signal, and so is the difference of the two inputs. The preserved fraction is the ratio of the two
projections: 1 for the identity, 0 if the signal is erased, above 1 if it is exaggerated. A linear filter h preserves
<h * s, s> / <s, s> of a signal s at every contrast.
"""

from __future__ import annotations

import numpy as np

from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.conditions import at_contrasts, conditions
from cxr_infer.lab.findings import Axis, Finding, Series
from cxr_infer.lab.marked import choices, kinds
from cxr_infer.lab.protocol import Protocol, Signal
from cxr_infer.lab.setting import NamedArrays, Setting
from cxr_infer.lab.shared_draws import CONTRAST, DrawTable, member
from cxr_infer.lab.statistics import estimates

NAME = CONTRAST


def findings(setting: Setting, table: DrawTable) -> list[Finding]:
    """Return one finding per kind, size and sign of signal: the preserved fraction against contrast, for every
    condition.
    """
    return [_finding(setting, table, signal) for signal in kinds(setting.protocol)]


def _finding(setting: Setting, table: DrawTable, signal: Signal) -> Finding:
    protocol = setting.protocol
    unit = protocol.unit_of_length
    sign = "-dark" if signal.contrast < 0 and signal.kind != "dark-line" else ""
    return Finding(
        key=f"{NAME}/{signal.kind}-{signal.size:g}{unit}{sign}",
        study=NAME,
        title=f"Contrast kept of a {signal.kind} of {signal.size:g} {unit}",
        x=Axis("contrast", "gray levels", logarithmic=True),
        y=Axis("share of the contrast kept"),
        series=tuple(
            _series(protocol, signal, method.name, condition.name, table[method.name, condition])
            for method in setting.methods
            for condition in conditions(protocol)
        ),
        measured="Difference made by the signal after denoising, divided by the difference before, both projected on "
        "the signal.",
        on=f"As many places as fit in each image ({len(setting.images)}), exposed with and without signals in equal "
        "noise; each place holds every signal at every contrast in turn.",
        caution="Preserving contrast is not detecting it: remaining noise may hide what is preserved. It holds for "
        "this size, contrast and dose, and for equally flat surroundings.",
        draws=protocol.draws,
        seed=protocol.seed,
        source="Projection on the known signal; the contrast transfer of nonlinear methods depends on contrast and "
        "dose: Richard et al., Med. Phys. 39(7), 2012.",
        higher_is_better=True,
    )


def _series(protocol: Protocol, signal: Signal, method: str, condition: str, parts: list[NamedArrays]) -> Series:
    """Contrasts that occurred in no draw are left out."""
    kept, given, order = (
        np.concatenate([np.asarray(part[key], np.float64) for part in parts], axis=1)
        for key in ("kept", "given", "order")
    )
    every, signals = choices(protocol), at_contrasts(signal, protocol.contrasts)
    here = np.stack([order == every.index(one) for one in signals], axis=-1)  # (draws, places, contrasts)
    values = np.where(here[..., None], np.stack([kept, given], axis=-1)[:, :, None], 0)
    found = estimates(values, share_kept, seed=protocol.seed, axes=(0, 1))
    known = [(abs(one.contrast), point) for one, point in zip(signals, found, strict=True) if np.isfinite(point.value)]
    where, points = tuple(x for x, _ in known), tuple(point for _, point in known)
    return Series(method, condition, where, points, protocol.fewer(method))


def share_kept(values: Float64Array) -> Float64Array:
    """Convert (draws, places, contrasts, 2), after and before, to ratios of sums (contrasts,); NaN for 0 / 0."""
    after, before = np.moveaxis(values.sum(axis=(0, 1)), -1, 0)
    return np.asarray(np.divide(after, before, out=np.full(after.shape, np.nan), where=before > 0))


study = member(NAME, findings)
