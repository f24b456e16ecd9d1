"""Lines that a method loses, and lines that it makes up, a megapixel, against dose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_infer.lab.conditions import Condition
from cxr_infer.lab.findings import Axis, Estimate, Finding, Series
from cxr_infer.lab.line_response import LEAST_CONTRAST, LENGTH
from cxr_infer.lab.protocol import NOISY
from cxr_infer.lab.setting import Setting
from cxr_infer.lab.shared_draws import LINE_DRAWS, LINES, Table, member
from cxr_infer.lab.statistics import estimate, ratio_of_sums

NAME = LINES
LOST, FALSE = 1, 2  # columns of the counts
NONE_COUNTED = -float(np.log(0.025))  # highest mean of which 0 comes as often as in 2.5%

Array = NDArray[np.float64]


def findings(setting: Setting, table: Table) -> list[Finding]:
    """Two findings: how many lines a megapixel are lost, and how many are made up."""
    lost, false = (
        [
            _series(setting, method.name, noise, table, which)
            for method in setting.methods
            for noise in setting.protocol.noises
        ]
        for which in (LOST, FALSE)
    )
    return [
        _finding(
            setting,
            lost,
            key=f"{NAME}/lost",
            title="Lines lost",
            y=Axis("lines lost", "a megapixel"),
            measured="Lines of the clean image that have less than half their contrast left after denoising, along "
            "most of their length.",
            caution="A line that is drowned in the noise counts as kept if its pixels are; a method that does nothing "
            "loses few. Read it together with the lines made up.",
        ),
        _finding(
            setting,
            false,
            key=f"{NAME}/made-up",
            title="Lines made up",
            y=Axis("false lines", "a megapixel"),
            measured="Lines of the denoised image of which the clean one shows less than half the contrast, along most "
            "of their length.",
            caution="Noise itself holds false lines, as the noisy image shows; made up here means still seen after "
            "denoising, not that the method drew them.",
        ),
    ]


def _draws(setting: Setting, method: str = NOISY) -> int:
    """Of all images, in which lines of a method are counted."""
    return min(setting.protocol.draws_of(method), LINE_DRAWS) * len(setting.images)


def or_poisson(found: Estimate, pair: Array) -> Estimate:
    """The same, where no line was counted with the upper end of the exact 95% interval of a Poisson count of 0.

    A bootstrap of zeros knows nothing but 0. The end is 3.69 lines in all the megapixels looked at (Garwood,
    Biometrika 28(3/4), 1936). pair: (..., 2), counts and megapixels.
    """
    counted, looked_at = pair[..., 0].sum(), pair[..., 1].sum()
    return Estimate(0.0, 0.0, float(NONE_COUNTED / looked_at)) if counted == 0 else found


def _series(setting: Setting, method: str, noise: str, table: Table, which: int) -> Series:
    protocol, points = setting.protocol, []
    megapixels = np.array([image.size / 1e6 for image in setting.images.values()])
    fewer = _draws(setting, method) < _draws(setting)
    for dose in protocol.doses:
        parts = table[method, Condition(noise, dose)]
        counts = np.stack([np.asarray(part[LINES], np.float64)[:, which] for part in parts])  # (images, draws)
        pair = np.stack([counts, np.broadcast_to(megapixels[:, None], counts.shape)], axis=-1)
        points.append(or_poisson(estimate(pair, ratio_of_sums, seed=protocol.seed, axes=(0, 1)), pair))
    return Series(method, noise, protocol.doses, tuple(points), _draws(setting, method) if fewer else None)


def _finding(
    setting: Setting, series: list[Series], *, key: str, title: str, y: Axis, measured: str, caution: str
) -> Finding:
    return Finding(
        key=key,
        study=NAME,
        title=title,
        x=Axis("dose", "photons at white", logarithmic=True),
        y=y,
        series=tuple(series),
        measured=measured,
        on=f"{len(setting.images)} images, searched for straight bright and dark lines of about {LENGTH} px and "
        f"{LEAST_CONTRAST:g} gray levels or more. Where none was counted, the interval is that of a Poisson count.",
        caution=caution,
        draws=_draws(setting),
        seed=setting.protocol.seed,
        source="Line operator after Dixon and Taylor, Inst. Phys. Conf. Ser. 44, 1979.",
        higher_is_better=False,
    )


study = member(NAME, findings)
