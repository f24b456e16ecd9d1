"""Study: lines that a method loses, and false lines it creates, per megapixel, against dose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.conditions import Condition
from cxr_infer.lab.findings import DOSE, Axis, Estimate, Finding, Series
from cxr_infer.lab.line_response import LEAST_CONTRAST, LENGTH
from cxr_infer.lab.protocol import NOISY
from cxr_infer.lab.setting import Setting
from cxr_infer.lab.shared_draws import LINE_DRAWS, LINES, DrawTable, member
from cxr_infer.lab.statistics import estimate, ratio_of_sums

NAME = LINES
NONE_COUNTED = -float(np.log(0.025))  # largest Poisson mean that yields 0 with a probability of at least 2.5%


@dataclass(frozen=True)
class Count:
    """A kind of lines counted in each image. column: its index in the counts of a draw."""

    column: int
    key: str
    title: str
    y: Axis
    measured: str
    caution: str


LOST_LINES = Count(
    column=1,
    key=f"{NAME}/lost",
    title="Lines lost",
    y=Axis("lines lost", "per megapixel"),
    measured="Lines of the clean image with less than half their contrast left after denoising, along most of "
    "their length.",
    caution="A line hidden by noise counts as preserved if its pixels are, so that doing nothing loses few. "
    "Read it together with the false lines.",
)
FALSE_LINES = Count(
    column=2,
    key=f"{NAME}/made-up",
    title="False lines",
    y=Axis("false lines", "per megapixel"),
    measured="Lines of the denoised image for which the clean image shows less than half the contrast, along "
    "most of their length.",
    caution="Noise itself contains false lines, as the noisy image shows; those counted here are still visible "
    "after denoising, which need not have created them.",
)


def findings(setting: Setting, table: DrawTable) -> list[Finding]:
    """Return two findings: lost lines and false lines per megapixel."""
    return [_finding(setting, table, count) for count in (LOST_LINES, FALSE_LINES)]


def _draws(setting: Setting, method: str = NOISY) -> int:
    """Return the number of draws, over all images, in which a method's lines are counted."""
    return min(setting.protocol.draws_of(method), LINE_DRAWS) * len(setting.images)


def or_poisson(found: Estimate, pair: Float64Array) -> Estimate:
    """Return `found`, or the exact 95% interval of a Poisson count of 0 if no line was counted.

    A bootstrap of zeros gives only zeros. The upper end is 3.69 lines in all megapixels searched (Garwood, Biometrika
    28(3/4), 1936). pair: (..., 2), counts and megapixels.
    """
    counted, searched = pair[..., 0].sum(), pair[..., 1].sum()
    return Estimate(0.0, 0.0, float(NONE_COUNTED / searched)) if counted == 0 else found


def _series(setting: Setting, method: str, noise: str, table: DrawTable, column: int) -> Series:
    protocol, points = setting.protocol, []
    megapixels = np.array([image.size / 1e6 for image in setting.images.values()])
    fewer = _draws(setting, method) < _draws(setting)
    for dose in protocol.doses:
        parts = table[method, Condition(noise, dose)]
        counts = np.stack([np.asarray(part[LINES], np.float64)[:, column] for part in parts])  # (images, draws)
        pair = np.stack([counts, np.broadcast_to(megapixels[:, None], counts.shape)], axis=-1)
        points.append(or_poisson(estimate(pair, ratio_of_sums, seed=protocol.seed, axes=(0, 1)), pair))
    return Series(method, noise, protocol.doses, tuple(points), _draws(setting, method) if fewer else None)


def _finding(setting: Setting, table: DrawTable, count: Count) -> Finding:
    return Finding(
        key=count.key,
        study=NAME,
        title=count.title,
        x=DOSE,
        y=count.y,
        series=tuple(
            _series(setting, method.name, noise, table, count.column)
            for method in setting.methods
            for noise in setting.protocol.noises
        ),
        measured=count.measured,
        on=f"{len(setting.images)} images, searched for straight bright and dark lines of about {LENGTH} px and "
        f"{LEAST_CONTRAST:g} gray levels or more. If none was counted, the interval is that of a Poisson count.",
        caution=count.caution,
        draws=_draws(setting),
        seed=setting.protocol.seed,
        source="Line operator after Dixon and Taylor, Inst. Phys. Conf. Ser. 44, 1979.",
        higher_is_better=False,
    )


study = member(NAME, findings)
