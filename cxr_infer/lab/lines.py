"""Lines that a method loses, and lines that it makes up, a megapixel, against dose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_infer.lab.conditions import Condition, conditions
from cxr_infer.lab.findings import Axis, Finding, Series
from cxr_infer.lab.line_response import LEAST_CONTRAST, LENGTH
from cxr_infer.lab.setting import Setting, Work
from cxr_infer.lab.statistics import estimate, ratio_of_sums
from cxr_infer.lab.whole_images import LINES, PIXELS, counted, units

Array = NDArray[np.float64]

NAME = "lines"
PRESENT, LOST, FALSE = range(3)


def study(setting: Setting, work: Work) -> list[Finding]:
    """Two findings: how many lines a megapixel are lost, and how many are made up."""
    work.expect(units(setting, conditions(setting.protocol)))
    lost, false = [], []
    for method in setting.methods:
        for noise in setting.protocol.noises:
            found = [counted(setting, work, method, Condition(noise, dose)) for dose in setting.protocol.doses]
            lost.append(_series(setting, method.name, noise, [_pair(one, LOST) for one in found]))
            false.append(_series(setting, method.name, noise, [_pair(one, FALSE) for one in found]))
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


def _pair(found: dict[str, Array], which: int) -> Array:
    """(images, draws, 2): how many, and in how many megapixels."""
    return np.stack([found[LINES][..., which], found[PIXELS]], axis=-1)


def _series(setting: Setting, method: str, noise: str, pairs: list[Array]) -> Series:
    seed = setting.protocol.seed
    found = tuple(estimate(pair, ratio_of_sums, seed=seed, axes=(0, 1)) for pair in pairs)
    return Series(method, noise, setting.protocol.doses, found)


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
        draws=setting.protocol.draws * len(setting.images),
        seed=setting.protocol.seed,
        source="Line operator after Dixon and Taylor, Inst. Phys. Conf. Ser. 44, 1979.",
        higher_is_better=False,
    )
