"""Measure the noise power spectrum of one image in its flattest tiles, and fit a shape to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.noise_blocks import BLOCK, FINE, BlockMap, Blocks, reduced, unit_rows
from cxr_infer.imaging.noise_curve import LEAST_VARIANCE, MOST_SATURATED, Curve
from cxr_infer.imaging.noise_shape import WHITE_NOISE, Shape, high_pass_response
from cxr_infer.imaging.pixels import Float64Array, FloatImage, Pixels

HALF_TILE = 2  # blocks
SIDE = 2 * HALF_TILE * BLOCK  # px, of a tile
LINE = SIDE // 2 + 1  # frequencies from 0 to 0.5 cycles/px
LEAST_TILES, MOST_TILES = 8, 48
SHARE_OF_TILES = 0.35  # fraction of the tiles without edges and saturation that is used, the flattest first
FLAT = 0.5  # ratio of a tile's flatness to its variance; lower values are equivalent, since noise alone causes as much
MIXED, STRIDE = 1e-3, 0.6180339887  # spreads equally flat tiles over the image
MOST_ENERGY = 1.5  # ratio of a tile's high-pass energy to the curve; more means edges
LOW_QUANTILE = 0.35  # quantile of the tiles' power at each frequency; low, because structure only adds power
LOWEST = 0.14  # cycles/px; below lies the shading of the image
LOWEST_WIDE = 0.08  # the same for noise so wide or so blue that these frequencies matter
LEAST_SEEN = 0.2  # fraction of the variance that the finest high-pass must see
LOWEST_ROUGH = 0.22  # cycles/px, as LOWEST, where anatomy is fine
ANATOMY_WIDTH, ANATOMY_SLOPE = 1.25, 1.2  # px, see `_too_wide`
LEAST_WHITE = 0.1  # fraction; enlarged noise has less, and its width is not limited
LOW_RING, MIDDLE_RING = (0.05, 0.085), (0.12, 0.2)  # cycles/px, where sharpened noise is weak and strong
SHARPENED = 0.25  # log ratio of the power in the middle ring to that in the low ring
DOUBT = 1.4  # twice the standard error of that log ratio from a single tile
NO_POWER = 1e-9  # keeps logarithms finite
FAINT_POWER = 0.02  # fraction of the strongest power; weaker power says little


@dataclass(frozen=True)
class Spectrum:
    """The noise spectrum of an image's tiles. Frequencies are in cycles/px of the image the tiles are cut from.

    shape: the fitted shape. power: (LINE, LINE), down and across from 0 to 0.5, up to a factor; taken from the shape
    where the image's own structure dominates. misfit: of the shape, root mean square of log power. blue: log ratio of
    power at middle to low frequencies. uneven: excess difference between tiles over that of noise, log power. tiles:
    their number.
    """

    shape: Shape
    power: Float64Array
    misfit: float
    blue: float = 0.0
    uneven: float = 1.0
    tiles: int = 0

    @property
    def sharpened(self) -> bool:
        """Whether low frequencies are clearly weaker than middle ones."""
        return self.tiles > 0 and self.blue > SHARPENED + DOUBT / float(np.sqrt(self.tiles))

    def _share(self, response: Float64Array) -> float:
        weights = _weights()
        power = self.power * weights * weights[:, None]
        return float((power * response).sum() / power.sum())

    def high_pass_gain(self, spacing: int) -> float:
        """Return the fraction of the noise variance seen by the blocks' high-pass. spacing: px between its taps."""
        return self._share(_response(spacing))

    def correlation(self) -> tuple[float, float]:
        """Return the correlation of neighbouring pixels' noise, across and down; -1 to 1."""
        u, v = _frequencies()
        return self._share(np.cos(2 * np.pi * u)), self._share(np.cos(2 * np.pi * v))


def fit_spectrum(image: FloatImage | Pixels, blocks: Blocks, curve: Curve, rounding: float) -> Spectrum:
    """Measure the spectrum in the flattest tiles and fit a shape to it.

    image: (H, W) as for `measure_blocks`, at full size. blocks: of the image, full size or reduced. curve: of these
    blocks. rounding: variance added by rounding to stored steps, to be subtracted. Without tiles the noise is assumed
    white.
    """
    corners = _flattest_tiles(blocks, curve)
    if not len(corners):
        return Spectrum(WHITE_NOISE, np.ones((LINE, LINE)), misfit=1.0)
    periodograms = _periodograms(image, corners, blocks.scale, curve)
    low = np.maximum(_folded(_low_quantile(periodograms)), NO_POWER)
    uneven = np.log(np.maximum(_folded(periodograms.mean(axis=0)), NO_POWER) / low)[_used(LOWEST)].mean()
    power = np.maximum(low - rounding / curve.mean_variance, FAINT_POWER * low)
    spectrum = _fitted(power, LOWEST)
    blue = float(np.log(_ring(power, *MIDDLE_RING) / _ring(power, *LOW_RING)))
    if spectrum.high_pass_gain(FINE) < LEAST_SEEN or blue > SHARPENED:
        spectrum = _fitted(power, LOWEST_WIDE)
    elif _too_wide(spectrum.shape) and spectrum.shape.white > LEAST_WHITE:
        spectrum = _fitted(power, LOWEST_ROUGH)
        if _too_wide(spectrum.shape):
            spectrum = replace(spectrum, shape=WHITE_NOISE, power=np.ones_like(power))
    return replace(spectrum, blue=blue, uneven=float(uneven), tiles=len(corners))


def _too_wide(shape: Shape) -> bool:
    """Whether noise of this shape is wider, for its white fraction, than that of any detector: white noise on fine
    anatomy.

    Of the detectors measured, those with a white fraction of 0.04, 0.2 and 0.4 have widths up to 1.0, 0.8 and 0.65 px.
    """
    return shape.white < 1 and shape.widest > ANATOMY_WIDTH - ANATOMY_SLOPE * shape.white


def _flattest_tiles(blocks: Blocks, curve: Curve) -> NDArray[np.intp]:
    """Return row and column, in blocks, of the chosen tiles, (tiles, 2); tiles overlap by half."""
    if min(blocks.mean.shape) < 2 * HALF_TILE:
        return np.zeros((0, 2), dtype=np.intp)
    blind = (blocks.saturated > MOST_SATURATED) | (blocks.fine <= LEAST_VARIANCE)
    grids = (blind.astype(np.float64), blocks.mean, blocks.fine, blocks.flatness)
    blinded, mean, energy, flatness = (_tile_means(grid) for grid in grids)
    variance = curve.at(mean)
    chosen = np.flatnonzero((blinded == 0) & (energy <= MOST_ENERGY * variance))
    score = np.maximum((flatness / variance).ravel()[chosen], FLAT) + MIXED * (np.arange(len(chosen)) * STRIDE % 1)
    most = min(max(int(SHARE_OF_TILES * len(chosen)), LEAST_TILES), MOST_TILES)
    if most < len(chosen):
        chosen = chosen[np.argpartition(score, most)[:most]]
    return np.stack(np.unravel_index(chosen, energy.shape), axis=1) * HALF_TILE


def _tile_means(grid: BlockMap) -> BlockMap:
    """Average a grid of blocks over each tile."""
    side = 2 * HALF_TILE
    means = cv2.boxFilter(grid, cv2.CV_64F, (side, side), anchor=(0, 0), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(means[: 1 - side : HALF_TILE, : 1 - side : HALF_TILE], dtype=np.float64)


def _periodograms(image: FloatImage | Pixels, corners: NDArray[np.intp], scale: int, curve: Curve) -> Float64Array:
    """Return the periodogram of each tile in units of the curve's variance: (tiles, SIDE, LINE).

    The best-fitting plane is subtracted first, and a Hann window applied.
    """
    side = SIDE * scale
    cuts = [image[row : row + side, column : column + side] for row, column in corners * BLOCK * scale]
    stacked: Any = np.concatenate(cuts)  # of the image's type
    pixels = unit_rows(stacked)
    tiles = (pixels if scale == 1 else reduced(pixels, scale)).reshape(len(corners), -1).astype(np.float64)
    variance = curve.at(tiles.mean(axis=1))
    planes = _planes()
    tiles -= (tiles @ planes.T) @ planes
    window = np.hanning(SIDE + 2)[1:-1] / np.sqrt(3 / 8)  # of mean square 1
    transformed = np.fft.rfft2(tiles.reshape(-1, SIDE, SIDE) * window * window[:, None])
    return np.asarray(np.abs(transformed) ** 2 / SIDE**2 / variance[:, None, None])


@lru_cache(maxsize=1)
def _planes() -> Float64Array:
    """Return an orthonormal basis of the planes over a tile: (3, SIDE * SIDE)."""
    line = np.arange(SIDE) - (SIDE - 1) / 2
    planes = np.stack([np.ones((SIDE, SIDE)), *np.meshgrid(line, line)]).reshape(3, -1)
    return np.asarray(planes / np.linalg.norm(planes, axis=1, keepdims=True))


def _low_quantile(periodograms: Float64Array) -> Float64Array:
    """Estimate mean noise power from a low quantile over the tiles; periodograms of noise are exponentially
    distributed.
    """
    count = len(periodograms)
    place = round(LOW_QUANTILE * (count - 1))
    return np.asarray(np.partition(periodograms, place, axis=0)[place] / -np.log1p(-(place + 0.5) / count))


def _folded(power: Float64Array) -> Float64Array:
    """Convert (SIDE, LINE) in FFT order to (LINE, LINE): the mean over both signs of the frequency down."""
    return np.asarray((power[:LINE] + np.concatenate([power[:1], power[: LINE - 2 : -1]])) / 2)


@lru_cache(maxsize=1)
def _frequencies() -> tuple[Float64Array, Float64Array]:
    """Return the frequencies across and down, (LINE, LINE) each."""
    line = np.arange(LINE) / SIDE
    u, v = np.meshgrid(line, line)
    return u, v


@lru_cache(maxsize=1)
def _weights() -> Float64Array:
    """Return how often each frequency of an axis counts: 0 and 0.5 have no twin of the other sign."""
    weights = np.ones(LINE)
    weights[[0, -1]] = 0.5
    return weights


@lru_cache(maxsize=4)
def _response(spacing: int) -> Float64Array:
    """Return the squared gain of the blocks' high-pass at each frequency. spacing: px between its taps."""
    return high_pass_response(*_frequencies(), spacing)


@lru_cache(maxsize=1)
def _radius() -> Float64Array:
    return np.asarray(np.hypot(*_frequencies()))


@lru_cache(maxsize=4)
def _in_ring(low: float, high: float) -> NDArray[np.bool_]:
    return np.asarray((_radius() >= low) & (_radius() < high))


def _ring(power: Float64Array, low: float, high: float) -> float:
    """Return the mean power between two frequencies, over all directions."""
    return float(power[_in_ring(low, high)].mean())


@lru_cache(maxsize=4)
def _used(lowest: float) -> NDArray[np.bool_]:
    """Return a mask of the frequencies for the fit: neither the image's shading nor the axes, where lines lie."""
    u, v = _frequencies()
    return np.asarray((np.hypot(u, v) >= lowest) & (u > 0) & (v > 0))


START_WHITE = (0.03, 0.15, 0.5, 3.0, 8.0)  # the descent starts at the best pair of these and
START_WIDTHS = (0.4, 0.7, 1.1, 1.6, 2.4)  # px
LIKELY = np.log([1.0, 0.6, 0.6])  # prior of a, sx, sy; white noise fits with any width
SPREAD = np.array([1.5, 0.6, 0.6])  # natural logarithm
LIMITS = np.log([[1e-4, 0.05, 0.05], [30.0, 6.0, 6.0]])
STEPS, LONGEST_STEP = 15, 0.7
SETTLED = 1e-3  # relative change of the misfit at which to stop
MOST_BELOW = 1.3  # ratio to the power of the tiles: noise cannot be stronger than noise and anatomy together
BETTER = 0.07  # fraction of white noise's squared misfit by which another shape must improve on it
SAMPLING = 0.015  # squared misfit due to the finite number of tiles


def _fitted(power: Float64Array, lowest: float) -> Spectrum:
    """Fit a shape to the power above a frequency, and extrapolate it below."""
    used = _used(lowest)
    taken = power[used]
    weight = (taken / (taken + FAINT_POWER * np.quantile(taken, 0.95))) ** 2
    weight /= weight.sum()
    shape, misfit = _fit(np.log(taken), weight, lowest)
    below = shape.power(*_frequencies())
    below *= np.exp(weight @ np.log(taken / below[used]))
    seen = np.where(_radius() < LOW_RING[0], _ring(power, *LOW_RING), power)  # tiles have lost their planes
    below = np.minimum(below, MOST_BELOW * seen)
    return Spectrum(shape, np.where(used, power, below), misfit)


def _fit(log_power: Float64Array, weight: Float64Array, lowest: float) -> tuple[Shape, float]:
    """Return the best-fitting shape and the root mean square misfit of its log power. weight: adds up to 1."""
    squares = _squares(lowest)
    starts, powers = _starts(lowest)
    rest = log_power - powers
    costs = rest**2 @ weight - (rest @ weight) ** 2
    misfit, found = _descend(log_power, weight, squares, starts[np.argmin(costs)])
    flat = float(weight @ (log_power - weight @ log_power) ** 2)
    if misfit > (1 - BETTER) * flat:
        return WHITE_NOISE, float(np.sqrt(flat))
    return Shape(*(float(value) for value in np.exp(found))), float(np.sqrt(misfit))


@lru_cache(maxsize=4)
def _squares(lowest: float) -> Float64Array:
    """Return 4 pi^2 times the squared frequencies of the fit, across and down: (2, frequencies)."""
    return np.asarray(4 * np.pi**2 * np.stack([frequency[_used(lowest)] ** 2 for frequency in _frequencies()]))


@lru_cache(maxsize=4)
def _starts(lowest: float) -> tuple[Float64Array, Float64Array]:
    """Return starting points, log a, log sx and log sy, (starts, 3), and the log power there, (starts, frequencies)."""
    u, v = (frequency[_used(lowest)] for frequency in _frequencies())
    shapes = [Shape(white, width, width) for white in START_WHITE for width in START_WIDTHS]
    parameters = np.log([[shape.white, shape.across, shape.down] for shape in shapes])
    return parameters, np.log([shape.power(u, v) for shape in shapes])


def _descend(
    log_power: Float64Array, weight: Float64Array, squares: Float64Array, start: Float64Array
) -> tuple[float, Float64Array]:
    """Minimise by Levenberg-Marquardt; return the mean squared misfit, and log a, log sx and log sy."""
    pull = SAMPLING / len(weight) / SPREAD**2
    here, damping = start, 1e-2
    rest, slope = _against(log_power, weight, squares, here)
    cost = rest @ rest + pull @ (here - LIKELY) ** 2
    for _ in range(STEPS):
        curvature = slope @ slope.T + np.diag(pull)
        curvature[np.diag_indices(3)] *= 1 + damping
        step = np.linalg.solve(curvature, slope @ rest - pull * (here - LIKELY))
        there = np.clip(here + np.clip(step, -LONGEST_STEP, LONGEST_STEP), *LIMITS)
        new_rest, new_slope = _against(log_power, weight, squares, there)
        new_cost = new_rest @ new_rest + pull @ (there - LIKELY) ** 2
        settled = abs(new_cost - cost) < SETTLED * cost
        if new_cost < cost:
            here, rest, slope, cost, damping = there, new_rest, new_slope, new_cost, damping / 4
        else:
            damping *= 8
        if settled:
            break
    return float(rest @ rest), here


def _against(
    log_power: Float64Array, weight: Float64Array, squares: Float64Array, at: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return weighted differences to a shape of the best amplitude, and the derivatives of its log power."""
    white, across, down = np.exp(at)
    gauss = np.exp(-squares[0] * across**2 - squares[1] * down**2)
    power = white + (1 - white) * gauss
    narrowing = 2 * (white - 1) * gauss / power
    slope = np.stack(
        [white * (1 - gauss) / power, narrowing * squares[0] * across**2, narrowing * squares[1] * down**2]
    )
    rest = log_power - np.log(power)
    root = np.sqrt(weight)
    return root * (rest - weight @ rest), root * (slope - (slope @ weight)[:, None])
