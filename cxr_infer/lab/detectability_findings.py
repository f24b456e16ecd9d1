"""Findings of the observer's studies for one signal: d', AUC, search and dose equivalence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab import signals
from cxr_infer.lab.dose_equivalence import Equivalent, equivalence
from cxr_infer.lab.findings import DOSE, Axis, Estimate, Finding, Series
from cxr_infer.lab.jackknife import jackknife
from cxr_infer.lab.methods import NOISY
from cxr_infer.lab.observed import ROUND, Scene
from cxr_infer.lab.observer import (
    analytic_d_prime,
    area_under_curve,
    ideal_d_prime,
)
from cxr_infer.lab.protocol import GRAY_LEVELS, Signal
from cxr_infer.lab.search import found_more, percent_correct
from cxr_infer.lab.setting import Setting

KNOWN, SEARCH, EQUIVALENCE = "detectability", "search", "dose-equivalence"  # studies that share their draws
EYE = 4.0  # gray levels, sd per pixel of white noise equivalent to the eye's internal noise
OBSERVER = "Barrett and Myers 2004, ch. 13; channels: Abbey and Barrett 2001; interval: Wunderlich et al. 2015"
OBSERVER_OF_LINES = (
    "Barrett and Myers 2004, ch. 13; channels: Wunderlich and Noo 2008; interval: Wunderlich et al. 2015"
)
EXPECTED = "In white noise at a known place, theory expects no method to improve d': look for losses, not for gains."
ONE_TASK = "It holds only for this signal, contrast, size and these images, and for a model observer, not a reader."


@dataclass(frozen=True)
class Measured:
    """Results for one signal, noise, dose and method.

    known: d'. left_out: d' without each group of draws. eye: d' of an observer with internal noise. right: for each
    draw of a search, whether the signal was found at each of its places (`search.choices`); empty for lines.
    """

    known: Estimate
    left_out: Float64Array
    eye: Estimate
    right: Sequence[Float64Array]


MeasuredTable = Mapping[tuple[str, float, str, int], Measured]  # noise, dose, method, index of the signal


def noisy_of(draws: int, of: int) -> str:
    """Return the name in a `MeasuredTable` of the undenoised image in the first `draws` draws."""
    return NOISY if draws == of else f"{NOISY}, first {draws} draws"


@dataclass(frozen=True)
class OfSignal:
    """The findings for one signal."""

    setting: Setting
    scene: Scene
    methods: Sequence[str]
    table: MeasuredTable
    index: int

    @property
    def signal(self) -> Signal:
        return self.scene.signals[self.index]

    @property
    def label(self) -> str:
        return described(self.signal, self.setting.protocol.spacing)

    def findings(self, study: str) -> list[Finding]:
        if study == SEARCH:
            return [self.search(), self.search_change()] if self.scene.eyepiece is ROUND else []
        return self.known() if study == KNOWN else [self.equivalence()]

    @property
    def place(self) -> str:
        return "at a known place" if self.scene.eyepiece is ROUND else "at a known place and in a known direction"

    def known(self) -> list[Finding]:
        task = f"a {self.label} {self.place} of a known background"
        observer = (
            f"a channelised Hotelling observer with {self.scene.eyepiece.said}, which in white noise has "
            f"{self._efficiency():.0%} of the ideal"
        )
        return [
            self._finding(
                "detectability",
                f"Detectability: {self.label}",
                Axis("d'"),
                self._series(lambda measured: measured.known),
                f"Detectability d' of {task}, by {observer} observer's d'.",
                f"{EXPECTED} {ONE_TASK}",
            ),
            self._finding(
                "auc",
                f"Area under the ROC curve: {self.label}",
                Axis("AUC"),
                self._series(lambda measured: area_under_curve(measured.known)),
                f"Area under the ROC curve for {task}, by the same observer; 0.5 is guessing, 1 never errs.",
                f"{EXPECTED} {ONE_TASK}",
            ),
            self._finding(
                "detectability-eye",
                f"Detectability by an eye with internal noise: {self.label}",
                Axis("d'"),
                self._series(lambda measured: measured.eye),
                f"Detectability d' of {task}, by the same observer with internal noise equivalent to white noise of "
                f"{EYE:g} gray levels per pixel.",
                f"The strength of the internal noise is a convention: compare methods, not values. {ONE_TASK}",
            ),
            self._finding(
                "detectability-kept",
                f"Detectability after denoising relative to before: {self.label}",
                Axis("d' after / before"),
                self._ratios(),
                f"Detectability d' after denoising divided by d' before, from the same draws, of {task}; 1: no loss.",
                f"{EXPECTED} Doses at which the signal is not detectable before denoising are left out. {ONE_TASK}",
            ),
        ]

    def search(self) -> Finding:
        places = self.scene.places.shape[1]
        return self._finding(
            "search",
            f"Search: {self.label}",
            Axis("found", "%"),
            self._series(lambda measured: percent_correct(measured.right)),
            f"How often an observer that scans {places} places and their surroundings names the one with a "
            f"{self.label}; guessing finds {100 / places:.0f}%.",
            f"Denoising may or may not help here, where false alarms count; it must not do harm. {ONE_TASK}",
            study=SEARCH,
        )

    def search_change(self) -> Finding:
        series = []
        for one in self._series(lambda measured: percent_correct(measured.right)):
            pairs = (
                (
                    self.table[one.condition, dose, name, self.index].right
                    for name in (self._noisy(one.method), one.method)
                )
                for dose in one.x
            )
            change = tuple(found_more(*pair) if one.method != NOISY else Estimate.exact(0.0) for pair in pairs)
            series.append(replace(one, y=change))
        return self._finding(
            "search-change",
            f"Search after denoising minus before: {self.label}",
            Axis("found after - before", "percentage points"),
            tuple(series),
            f"How much more often the observer names the place with a {self.label} after denoising, in the same draws; "
            "0 is neither gain nor loss.",
            f"Where nearly all or almost none are found, little can change. {ONE_TASK}",
            study=SEARCH,
        )

    def _efficiency(self) -> float:
        side, protocol = self.scene.side, self.setting.protocol
        centre = (side // 2, side // 2)
        drawn = signals.draw(self.signal, (side, side), centre, protocol.spacing, protocol.blur).astype(np.float64)
        drawn *= GRAY_LEVELS
        return analytic_d_prime(drawn, self.scene.channels, 1.0) / ideal_d_prime(drawn, 1.0)

    def _series(self, value: Callable[[Measured], Estimate]) -> tuple[Series, ...]:
        protocol = self.setting.protocol
        return tuple(
            Series(
                method,
                noise,
                protocol.doses,
                tuple(value(self.table[noise, dose, method, self.index]) for dose in protocol.doses),
                protocol.fewer(method),
            )
            for noise in protocol.noises
            for method in self.methods
        )

    def _ratios(self) -> tuple[Series, ...]:
        """For every method; the undenoised image's ratio is 1, for comparison."""
        found, protocol = [], self.setting.protocol
        for noise in protocol.noises:
            for method in self.methods:
                before = {dose: self.table[noise, dose, self._noisy(method), self.index] for dose in protocol.doses}
                told = [dose for dose, row in before.items() if row.known.low > 0 and row.left_out.min() > 0]
                ratios = (_ratio(before[dose], self.table[noise, dose, method, self.index]) for dose in told)
                if told:
                    found.append(Series(method, noise, tuple(told), tuple(ratios), protocol.fewer(method)))
        return tuple(found)

    def _noisy(self, method: str) -> str:
        """Return the name of the undenoised image measured with as many draws as the method."""
        protocol = self.setting.protocol
        return noisy_of(protocol.draws_of(method), protocol.draws)

    def equivalence(self) -> Finding:
        found, beyond, open_ends = [], [], []
        for noise in self.setting.protocol.noises:
            for method in self.methods[1:]:
                points = {}
                for dose, each in self._equivalents(noise, method).items():
                    at = f"{method}, {noise}, {dose:g} photons"
                    if each.ratio is None:
                        beyond.append(at)
                    else:
                        points[dose] = each.ratio
                        open_ends += [at] if each.open_end else []
                if points:
                    fewer = self.setting.protocol.fewer(method)
                    found.append(Series(method, noise, tuple(points), tuple(points.values()), fewer))
        return self._finding(
            "dose-equivalence",
            f"Dose equivalence: {self.label}",
            Axis("equivalent dose / dose", logarithmic=True),
            tuple(found),
            "Dose at which the noisy image reaches the d' of the denoised one, relative to the given dose, for a "
            f"{self.label} {self.place}; 1: neither gain nor loss."
            + _listed(f"Outside the measured doses{self._range}", beyond),
            f"It does not justify a lower dose: it holds only for this task, contrast and size.{_open(open_ends)}",
            study=EQUIVALENCE,
        )

    @property
    def _range(self) -> str:
        doses = [dose for _, dose, method, _ in self.table if method == NOISY]
        return f" ({min(doses):g} to {max(doses):g} photons, where the signal is detectable)"

    def _equivalents(self, noise: str, method: str) -> dict[float, Equivalent]:
        """For each dose of the protocol, using all doses at which the signal is detectable before denoising."""
        wanted = (noise, self._noisy(method), self.index)
        measured = {d: row for (n, d, m, i), row in self.table.items() if (n, m, i) == wanted}
        rows = {dose: measured[dose] for dose in sorted(measured) if measured[dose].known.low > 0}
        doses, before = np.array(list(rows)), np.array([row.known.value for row in rows.values()])
        found = {}
        for dose in sorted(self.setting.protocol.doses):
            after = self.table[noise, dose, method, self.index]
            pairs = [
                (np.array([row.left_out[group] for row in rows.values()]), float(after.left_out[group]))
                for group in range(len(after.left_out))
            ]
            found[dose] = equivalence(doses, before, after.known.value, pairs, dose)
        return found

    def _finding(
        self,
        key: str,
        title: str,
        y: Axis,
        series: tuple[Series, ...],
        measured: str,
        caution: str,
        study: str = KNOWN,
    ) -> Finding:
        scene = self.scene
        return Finding(
            key=f"{key}/{slug(self.signal)}",
            study=study,
            title=title,
            x=DOSE,
            y=y,
            series=series,
            measured=measured,
            on=f"{scene.where}, {scene.draws} draws of noise without signals and {scene.draws} with one at every "
            f"place, in turn one of {len(scene.signals)}.",
            caution=caution,
            draws=scene.draws,
            seed=self.setting.protocol.seed,
            source=OBSERVER if scene.eyepiece is ROUND else OBSERVER_OF_LINES,
            higher_is_better=True,
        )


def _ratio(before: Measured, after: Measured) -> Estimate:
    """Return d' after denoising divided by d' before, from the same draws: exactly 1 for the undenoised image."""
    found = jackknife(after.known.value / before.known.value, after.left_out / before.left_out)
    return Estimate(found.value, max(found.low, 0.0), found.high)


def described(signal: Signal, spacing: float | None) -> str:
    """Describe a signal in words: `nodule of 5 mm, +10 gray levels`."""
    return f"{signal.kind} of {signal.size:g} {'px' if spacing is None else 'mm'}, {signal.contrast:+g} gray levels"


def slug(signal: Signal) -> str:
    """Return a signal as the suffix of a key."""
    return f"{signal.kind}-{signal.size:g}-{signal.contrast:+g}"


def _listed(what: str, places: Sequence[str]) -> str:
    return f" {what}: {'; '.join(places)}." if places else ""


def _open(places: Sequence[str]) -> str:
    return f" Intervals that extend beyond the measured doses are clipped: {'; '.join(places)}." if places else ""
