"""Study: lines that a method loses, and false lines it creates, per megapixel, against dose."""

from __future__ import annotations

import numpy as np

from cxr_infer.lab.conditions import Condition
from cxr_infer.lab.findings import Axis, Finding, Series
from cxr_infer.lab.line_response import LEAST_CONTRAST, LENGTH
from cxr_infer.lab.setting import Setting
from cxr_infer.lab.shared_draws import LINE_DRAWS, LINES, Table, member
from cxr_infer.lab.statistics import estimate, ratio_of_sums

NAME = LINES
LOST, FALSE = 1, 2  # columns of the counts


def findings(setting: Setting, table: Table) -> list[Finding]:
    """Return two findings: lost lines and false lines per megapixel."""
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
            y=Axis("lines lost", "per megapixel"),
            measured="Lines of the clean image with less than half their contrast left after denoising, along most of "
            "their length.",
            caution="A line hidden by noise counts as preserved if its pixels are, so that doing nothing loses few. "
            "Read it together with the false lines.",
        ),
        _finding(
            setting,
            false,
            key=f"{NAME}/made-up",
            title="False lines",
            y=Axis("false lines", "per megapixel"),
            measured="Lines of the denoised image for which the clean image shows less than half the contrast, along "
            "most of their length.",
            caution="Noise itself contains false lines, as the noisy image shows; those counted here are still visible "
            "after denoising, which need not have created them.",
        ),
    ]


def _series(setting: Setting, method: str, noise: str, table: Table, which: int) -> Series:
    protocol, points = setting.protocol, []
    megapixels = np.array([image.size / 1e6 for image in setting.images.values()])
    for dose in protocol.doses:
        parts = table[method, Condition(noise, dose)]
        counts = np.stack([np.asarray(part[LINES], np.float64)[:, which] for part in parts])  # (images, draws)
        pair = np.stack([counts, np.broadcast_to(megapixels[:, None], counts.shape)], axis=-1)
        points.append(estimate(pair, ratio_of_sums, seed=protocol.seed, axes=(0, 1)))
    return Series(method, noise, protocol.doses, tuple(points))


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
        f"{LEAST_CONTRAST:g} gray levels or more.",
        caution=caution,
        draws=min(setting.protocol.draws, LINE_DRAWS) * len(setting.images),
        seed=setting.protocol.seed,
        source="Line operator after Dixon and Taylor, Inst. Phys. Conf. Ser. 44, 1979.",
        higher_is_better=False,
    )


study = member(NAME, findings)
