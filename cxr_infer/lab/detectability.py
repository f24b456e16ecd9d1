"""Study: is a signal as detectable after denoising as before, at each dose, at a known place and in a search?

In white noise at a known place no method can improve the best observer, who could have disregarded what the method
removes; the most to expect is a d' that is not worse. An improvement is possible only in a search, or for an observer
that cannot disregard the noise.

The observer sees discs and nodules through round channels, and lines through Gabor channels, knowing their direction as
well; lines have no search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cxr_infer.errors import UsageError
from cxr_infer.lab.detectability_findings import (
    EQUIVALENCE,
    EYE,
    KNOWN,
    SEARCH,
    Measured,
    MeasuredTable,
    OfSignal,
    noisy_of,
)
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.jackknife import groups_of
from cxr_infer.lab.methods import CLASSICAL, NOISY, NamedMethod
from cxr_infer.lab.noise import generator
from cxr_infer.lab.observed import ALONG, COMPACT, LINEAR, ROUND, ObservedScene, Scene, observe, scene_of
from cxr_infer.lab.observer import (
    detectability,
    median_d_prime,
    with_internal_noise,
)
from cxr_infer.lab.protocol import Protocol
from cxr_infer.lab.search import choices
from cxr_infer.lab.setting import Method, Setting, UnitStore


def detectability_study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Return d' and AUC, also of an eye with internal noise, and d' after denoising relative to before."""
    return _study(KNOWN, setting, work)


def search_study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Return the percentage correct in a search."""
    return _study(SEARCH, setting, work)


def equivalence_study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Return the dose at which the undenoised image would be as good."""
    return _study(EQUIVALENCE, setting, work)


def _study(name: str, setting: Setting, work: UnitStore) -> list[Finding]:
    """The three studies share their draws: the first one in the protocol measures and reports for all of them."""
    asked = [each for each in (KNOWN, SEARCH, EQUIVALENCE) if each in (*setting.protocol.studies, name)]
    if name != asked[0]:
        return []
    scenes, methods = _scenes(setting, asked), with_noisy(setting.methods)
    names, about = [method.name for method in methods], []
    finely = EQUIVALENCE in asked
    work.expect(len(scenes) * _units(setting.protocol, methods, finely))
    for scene in scenes:
        table = _measure(setting, work, scene, methods, finely)
        about += [OfSignal(setting, scene, names, table, index) for index in range(len(scene.signals))]
    return [finding for study in asked for each in about for finding in each.findings(study)]


def with_noisy(methods: Sequence[Method]) -> list[Method]:
    """Return the methods, the undenoised image first."""
    noisy = [method for method in methods if method.name == NOISY] or [NamedMethod(NOISY, CLASSICAL[NOISY])]
    return [*noisy, *(method for method in methods if method.name != NOISY)]


def _scenes(setting: Setting, asked: Sequence[str]) -> list[Scene]:
    """Choose scenes for compact signals and for lines, which have no search. Raises UsageError if there are none."""
    compact, lines = (
        [signal for signal in setting.protocol.signals if signal.kind in kinds] for kinds in (COMPACT, LINEAR)
    )
    if not compact and (SEARCH in asked or not lines):
        raise UsageError(
            f"the observer's studies need a signal of kind {' or '.join(COMPACT)}; add such a signal to the protocol"
        )
    known = KNOWN in asked or EQUIVALENCE in asked
    wanted = [(compact, ROUND), (lines, ALONG)] if known else [(compact, ROUND)]
    return [scene_of(setting, signals, eyepiece) for signals, eyepiece in wanted if signals]


def _doses(protocol: Protocol, method: Method, finely: bool) -> Sequence[float]:
    """Return the doses to measure. finely: measure the undenoised image, which is cheap, at additional doses."""
    return finer(protocol.doses) if finely and method.name == NOISY else protocol.doses


def _units(protocol: Protocol, methods: Sequence[Method], finely: bool) -> int:
    """Return the number of units of work per scene."""
    return len(protocol.noises) * sum(len(_doses(protocol, method, finely)) for method in methods)


def _measure(setting: Setting, work: UnitStore, scene: Scene, methods: Sequence[Method], finely: bool) -> MeasuredTable:
    """The undenoised image is also measured with as few draws as any method has, for comparison with it."""
    protocol, table = setting.protocol, {}
    what = "lines, " if scene.eyepiece is ALONG else ""
    for noise in protocol.noises:
        for method in methods:
            also = {protocol.draws_of(other.name) for other in methods if method.name == NOISY} - {protocol.draws}
            for dose in _doses(protocol, method, finely):
                seen = observe(setting, work, scene, noise, dose, method, what)
                for index in range(len(scene.signals)):
                    table[noise, dose, method.name, index] = _measured(setting, seen, index)
                    for draws in also:
                        of_fewer = noisy_of(draws, protocol.draws)
                        table[noise, dose, of_fewer, index] = _measured(setting, seen.first(draws), index)
    return table


def finer(doses: Sequence[float]) -> list[float]:
    """Return the doses, their geometric means and some beyond, so that equivalent doses seldom lie outside the
    range.
    """
    known = sorted(doses)
    between = [math.sqrt(low * high) for low, high in pairwise(known)]
    return sorted({*known, *(float(f"{dose:.3g}") for dose in (known[0] / 4, known[0] / 2, *between, 2 * known[-1]))})


def _measured(setting: Setting, seen: ObservedScene, index: int) -> Measured:
    present, absent = seen.ratings(index)
    rng = generator(setting.protocol.seed, "eye", index)  # the same internal noise for all methods
    eye = [with_internal_noise(each, seen.scene.channels, EYE, rng) for each in (present, absent)]
    groups = int(groups_of(seen.scene.draws)[-1]) + 1
    left_out = np.array([median_d_prime(*seen.ratings(index, group)) for group in range(groups)])
    found = choices(seen, index) if seen.scene.eyepiece is ROUND else []
    return Measured(detectability(present, absent), left_out, detectability(*eye), found)
