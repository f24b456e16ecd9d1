"""A channelised Hotelling observer: how well a signal at a known place can be told from noise, without human readers.

It is the best linear observer that sees an image through a few channels (Barrett and Myers, Foundations of Image
Science, 2004, ch. 13; Myers and Barrett, JOSA A 4(12), 1987). Its detectability d' is the distance between its ratings
with and without the signal in standard deviations of a rating; AUC = Phi(d' / sqrt 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import DataError
from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.findings import Estimate
from cxr_infer.lab.scipy_functions import special

Whole = NDArray[np.intp]

# dense difference of Gaussians (Abbey and Barrett, JOSA A 18(3), 2001), frequencies in cycles/px
FIRST_SIGMA, GROWTH, WIDTH_RATIO, DOG_CHANNELS = 0.005, 1.4, 1.67, 10
WIDEST = 1 / 4  # fraction of the window's side: sd of the widest Gaussian that fits
# Gabor channels: octave passbands in cycles/px and orientations (Wunderlich and Noo, IEEE EMBS 2008)
PASSBANDS, ORIENTATIONS, PHASES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4), 5, (0.0, np.pi / 2)
TAIL = 0.025  # probability on each side of an interval
BISECTIONS = 80
MOST_NONCENTRALITY = 1e9  # d' of thousands; larger values cannot be resolved
LEAST_SPREAD = 1e-12  # ratio of smallest to largest variance below which the covariance cannot be inverted


def difference_of_gaussians(side: int) -> Float64Array:
    """Return dense difference-of-Gaussians channels for a window of `side` px (odd): (channels, side * side), norm 1.

    C_j(f) = exp(-(f / Q s_j)^2 / 2) - exp(-(f / s_j)^2 / 2) with s_j = 0.005 * 1.4^j cycles/px and Q = 1.67 (Abbey and
    Barrett 2001), j = 1 to 10 (as in FDA's IQmodelo; its LCD_CT counts from 0), which is in space

        2 pi (Q s_j)^2 exp(-2 (pi Q s_j r)^2) - 2 pi s_j^2 exp(-2 (pi s_j r)^2).

    Channels too wide for the window are left out. Each is made zero-mean, as in the formula, which a finite window
    would violate: brightness must not be seen.
    """
    radius = np.hypot(*_centred(side))
    channels = []
    for sigma in FIRST_SIGMA * GROWTH ** np.arange(1, DOG_CHANNELS + 1):
        if 1 / (2 * np.pi * WIDTH_RATIO * sigma) <= WIDEST * side:
            narrow, wide = (
                2 * np.pi * s**2 * np.exp(-2 * (np.pi * s * radius) ** 2) for s in (WIDTH_RATIO * sigma, sigma)
            )
            channels.append(narrow - wide)
    return _normalised(channels)


def gabor(side: int, angle: float = 0.0) -> Float64Array:
    """Return Gabor channels for a window of `side` px (odd): (channels, side * side), each of norm 1 and mean 0.

    exp(-4 ln 2 r^2 / w^2) cos(2 pi f (x cos t + y sin t) + b), f the middle of an octave passband and w = 4 ln 2 / (pi
    bandwidth), 5 orientations t and 2 phases b, as in FDA's IQmodelo (Wunderlich and Noo 2008). Passbands too wide for
    the window are left out. angle: first orientation, radians; for a line of known direction, the one across it.
    """
    x, y = _centred(side)
    channels = []
    for low, high in pairwise(PASSBANDS):
        width = 4 * np.log(2) / (np.pi * (high - low))
        if width / np.sqrt(8 * np.log(2)) > WIDEST * side:
            continue
        envelope = np.exp(-4 * np.log(2) * (x**2 + y**2) / width**2)
        for turned in angle + np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS:
            along = 2 * np.pi * (low + high) / 2 * (x * np.cos(turned) + y * np.sin(turned))
            channels += [envelope * np.cos(along + phase) for phase in PHASES]
    return _normalised(channels)


def _centred(side: int) -> tuple[Float64Array, Float64Array]:
    line = np.arange(side) - (side - 1) / 2
    x, y = np.meshgrid(line, line)
    return x, y


def _normalised(channels: list[Float64Array]) -> Float64Array:
    flat = np.stack(channels).reshape(len(channels), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True))


@dataclass(frozen=True)
class Ratings:
    """Channel outputs of many windows of one class, (n, channels), and the place of each, (n,).

    Windows at one place share a known background; its mean is subtracted place by place.
    """

    outputs: Float64Array
    places: Whole

    @classmethod
    def of(cls, outputs: Float64Array) -> Ratings:
        """Build ratings that are all at one place."""
        return cls(outputs, np.zeros(len(outputs), dtype=np.intp))

    def kept(self, which: NDArray[np.bool_]) -> Ratings:
        return Ratings(self.outputs[which], self.places[which])


@dataclass(frozen=True)
class Moments:
    """Moments of both classes: difference of the means (p,), pooled covariance (p, p), its degrees of freedom.

    weight: 1 / variance of the difference in units of the covariance: m n / (m + n) for m and n windows.
    """

    difference: Float64Array
    covariance: Float64Array
    freedom: int
    weight: float

    @property
    def template(self) -> Float64Array:
        """Hotelling template, the weight of each channel: K^-1 times the difference."""
        return np.asarray(np.linalg.solve(self.covariance, self.difference))

    @property
    def squared(self) -> float:
        """Plain estimate of d'^2, biased upwards for few windows."""
        return float(self.difference @ self.template)


def moments(present: Ratings, absent: Ratings) -> Moments:
    """Compute the moments of both classes, place by place.

    The difference is the mean over windows with the signal, minus the mean without it at their places. Raises DataError
    if there are too few windows, or if the noise does not vary.
    """
    count = int(max(present.places.max(initial=0), absent.places.max(initial=0))) + 1
    with_signal, without = (np.bincount(r.places, minlength=count) for r in (present, absent))
    channels = present.outputs.shape[1]
    freedom = sum(len(r.outputs) - len(np.unique(r.places)) for r in (present, absent))
    if not len(present.outputs) or freedom < channels + 2 or np.any(without[with_signal > 0] == 0):
        raise DataError(f"{len(present.outputs)} windows are too few for {channels} channels; use more draws")
    means = _place_means(absent, count)
    difference = (present.outputs - means[present.places]).mean(axis=0)
    scatter = _scatter(absent, means) + _scatter(present, _place_means(present, count))
    covariance = scatter / freedom
    spread = np.linalg.eigvalsh(covariance)
    if spread[0] <= LEAST_SPREAD * spread[-1] or spread[-1] <= 0:
        raise DataError(
            "the noise does not vary in every channel, so no observer can be trained; use another noise or dose"
        )
    share = with_signal / len(present.outputs)
    used = share > 0
    variance = 1 / len(present.outputs) + float((share[used] ** 2 / without[used]).sum())
    return Moments(difference, covariance, freedom, 1 / variance)


def _place_means(ratings: Ratings, count: int) -> Float64Array:
    """Return the mean at each place, (count, p); 0 without windows."""
    total = np.zeros((count, ratings.outputs.shape[1]))
    np.add.at(total, ratings.places, ratings.outputs)
    windows = np.bincount(ratings.places, minlength=count)
    return np.asarray(total / np.maximum(windows, 1)[:, None])


def _scatter(ratings: Ratings, means: Float64Array) -> Float64Array:
    rest = ratings.outputs - means[ratings.places]
    return np.asarray(rest.T @ rest)


def detectability(present: Ratings, absent: Ratings) -> Estimate:
    """Return d' with its exact 95% interval.

    Hotelling's T^2 = w d'^2 is distributed as nu p / (nu - p + 1) times a noncentral F with p and nu - p + 1 degrees of
    freedom and noncentrality w d'^2, for normal channels with one covariance in both classes (Wunderlich, Noo, Gallas
    and Heilbrun, IEEE TMI 34(2), 2015); for faint signals, denoised images come close to that. The ends are the d' for
    which the observed statistic is at the upper or lower 2.5%. The value is the d' for which it is the median, so that
    it is too large as often as too small, however few windows there are; the plain estimate is biased upwards.
    """
    return detectability_of(moments(present, absent))


def detectability_of(found: Moments) -> Estimate:
    value, low, high = (_d_prime(found, chance) for chance in (0.5, 1 - TAIL, TAIL))
    return Estimate(value, low, high)


def median_d_prime(present: Ratings, absent: Ratings) -> float:
    """Return d' without its interval."""
    return _d_prime(moments(present, absent), 0.5)


def _d_prime(found: Moments, chance: float) -> float:
    """Return the d' for which the statistic is below the observed one with probability `chance`; 0 if there is none."""
    channels = len(found.difference)
    rest = found.freedom - channels + 1
    statistic = found.squared * found.weight * rest / (found.freedom * channels)

    def excess(noncentrality: float) -> float:
        return float(special().ncfdtr(channels, rest, noncentrality, statistic)) - chance

    if excess(0.0) <= 0:
        return 0.0
    top = max(statistic * channels, 1.0)
    while excess(top) > 0 and top < MOST_NONCENTRALITY:
        top *= 2
    return math.sqrt(_bisected(excess, 0.0, top) / found.weight)


def _bisected(falling: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
        if high - low <= 1e-7 * high:
            break
    return (low + high) / 2


def area_under_curve(d_prime: Estimate) -> Estimate:
    """Convert d' to AUC: Phi(d' / sqrt 2) for normal ratings (Barrett and Myers, ch. 13)."""
    return Estimate(*(0.5 * (1 + math.erf(d / 2)) for d in (d_prime.value, d_prime.low, d_prime.high)))


def analytic_d_prime(
    signal: Float64Array, channels: Float64Array, sd: float, spectrum: Float64Array | None = None
) -> float:
    """Return d' of this observer for a known signal in stationary noise: sqrt(v' K^-1 v), v = U signal, K = U C U'.

    signal: (side, side), in the units of sd. channels U: (p, side * side). spectrum: (side, side) of the noise, FFT
    order, mean 1, assumed periodic over the window; None for white noise, for which K = sd^2 U U' exactly.
    """
    seen = channels @ signal.ravel()
    if spectrum is None:
        covariance = channels @ channels.T
    else:
        transformed = np.fft.fft2(channels.reshape(len(channels), *signal.shape)).reshape(len(channels), -1)
        covariance = ((transformed * spectrum.ravel()) @ transformed.conj().T).real / signal.size
    return float(np.sqrt(seen @ np.linalg.solve(covariance, seen)) / sd)


def ideal_d_prime(signal: Float64Array, sd: float) -> float:
    """Return d' of the ideal observer for a known signal in white noise: sqrt(sum of signal^2) / sd (matched
    filter).
    """
    return float(np.linalg.norm(signal) / sd)


def with_internal_noise(ratings: Ratings, channels: Float64Array, sd: float, rng: np.random.Generator) -> Ratings:
    """Add an observer's internal noise to its channel outputs, equivalent to white noise of `sd` per pixel of the
    image.

    sd: in the units of the outputs' images. The noise is added to the displayed image, denoised or not, so that no
    denoiser removes it: a stronger signal helps against it, a smoother image does not.
    """
    if sd <= 0:
        return ratings
    root = np.linalg.cholesky(channels @ channels.T)
    own = rng.standard_normal(ratings.outputs.shape) @ root.T
    return Ratings(ratings.outputs + sd * own, ratings.places)
