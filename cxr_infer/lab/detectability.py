"""Study: is a signal as detectable after denoising as before, at each dose, at a known place and in a search?

In white noise at a known place no method can improve the best observer, who could have disregarded what the method
removes; the most to expect is a d' that is not worse. An improvement is possible only in a search, or for an observer
that cannot disregard the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cxr_infer.errors import UsageError
from cxr_infer.lab.detectability_findings import EQUIVALENCE, EYE, KNOWN, SEARCH, Measured, OfSignal, Table
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.jackknife import groups_of
from cxr_infer.lab.methods import CLASSICAL, NOISY, NamedMethod
from cxr_infer.lab.noise import generator
from cxr_infer.lab.observed import COMPACT, Scene, Seen, observe, scene_of
from cxr_infer.lab.observer import (
    detectability,
    median_d_prime,
    with_internal_noise,
)
from cxr_infer.lab.search import choices
from cxr_infer.lab.setting import Method, Setting, Work


def detectability_study(setting: Setting, work: Work) -> list[Finding]:
    """Return d' and AUC, also of an eye with internal noise, and d' after denoising relative to before."""
    return _study(KNOWN, setting, work)


def search_study(setting: Setting, work: Work) -> list[Finding]:
    """Return the percentage correct in a search."""
    return _study(SEARCH, setting, work)


def equivalence_study(setting: Setting, work: Work) -> list[Finding]:
    """Return the dose at which the undenoised image would be as good."""
    return _study(EQUIVALENCE, setting, work)


def _study(name: str, setting: Setting, work: Work) -> list[Finding]:
    """The three studies share their draws: the first one in the protocol measures and reports for all of them."""
    asked = [each for each in (KNOWN, SEARCH, EQUIVALENCE) if each in (*setting.protocol.studies, name)]
    if name != asked[0]:
        return []
    scene, methods = _scene(setting), with_noisy(setting.methods)
    table = _measure(setting, work, scene, methods, finely=EQUIVALENCE in asked)
    names = [method.name for method in methods]
    about = [OfSignal(setting, scene, names, table, index) for index in range(len(scene.signals))]
    return [finding for study in asked for each in about for finding in each.findings(study)]


def with_noisy(methods: Sequence[Method]) -> list[Method]:
    """Return the methods, the undenoised image first."""
    noisy = [method for method in methods if method.name == NOISY] or [NamedMethod(NOISY, CLASSICAL[NOISY])]
    return [*noisy, *(method for method in methods if method.name != NOISY)]


def _scene(setting: Setting) -> Scene:
    wanted = [signal for signal in setting.protocol.signals if signal.kind in COMPACT]
    if not wanted:
        raise UsageError(
            f"the observer's studies need a signal of kind {' or '.join(COMPACT)}; add one to the protocol"
        )
    return scene_of(setting, wanted)


def _measure(setting: Setting, work: Work, scene: Scene, methods: Sequence[Method], finely: bool) -> Table:
    """finely: measure the undenoised image, which is cheap, at additional doses."""
    protocol = setting.protocol
    doses = {
        method.name: finer(protocol.doses) if finely and method.name == NOISY else protocol.doses for method in methods
    }
    work.expect(len(protocol.noises) * sum(map(len, doses.values())))
    table = {}
    for noise in protocol.noises:
        for method in methods:
            for dose in doses[method.name]:
                seen = observe(setting, work, scene, noise, dose, method)
                for index in range(len(scene.signals)):
                    table[noise, dose, method.name, index] = _measured(setting, seen, index)
    return table


def finer(doses: Sequence[float]) -> list[float]:
    """Return the doses, their geometric means and some beyond, so that equivalent doses seldom lie outside the
    range.
    """
    known = sorted(doses)
    between = [math.sqrt(low * high) for low, high in pairwise(known)]
    return sorted({*known, *(float(f"{dose:.3g}") for dose in (known[0] / 4, known[0] / 2, *between, 2 * known[-1]))})


def _measured(setting: Setting, seen: Seen, index: int) -> Measured:
    present, absent = seen.ratings(index)
    rng = generator(setting.protocol.seed, "eye", index)  # the same internal noise for all methods
    eye = [with_internal_noise(each, seen.scene.channels, EYE, rng) for each in (present, absent)]
    groups = int(groups_of(seen.scene.draws)[-1]) + 1
    left_out = np.array([median_d_prime(*seen.ratings(index, group)) for group in range(groups)])
    return Measured(detectability(present, absent), left_out, detectability(*eye), choices(seen, index))
