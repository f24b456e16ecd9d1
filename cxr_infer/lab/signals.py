"""Signals of known size, contrast and place, and where in an image they fit.

Signals are in [0, 1] units and are added to a clean image before the noise. Sizes are in mm if the pixel spacing is
known (mm per pixel), else in px. Images are (H, W) float32; a centre is (row, column) in px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.protocol import Signal

Places = NDArray[np.intp]  # (K, 2): row and column

DESIGNER_POWER = 1.5
LINE_LENGTH = 32.0  # px, length of lines; at least four widths
LEAST_LENGTHS = 4.0
LINE_ANGLE = float(
    np.radians(-28)
)  # between a line's normal and the rows, so that lines follow neither rows nor columns
LATTICE_PERIODS = 4  # across a patch
EDGE_ANGLE = float(np.arctan(0.1))  # a slope of 1 px in 10 samples an edge finely
FWHM = 2 * float(np.sqrt(2 * np.log(2)))  # of a Gaussian, in standard deviations
LETTER, LETTER_SCALE, LETTER_HEIGHT = "R", 0.6, 13.0  # height in px of OpenCV's letter at that scale
MOST_BLUR = 4  # standard deviations at which a blur is truncated

SURROUNDING_BRIGHTNESS = (0.2, 0.8)  # range of the surroundings' mean, so that neither noise nor signal is clipped
LEAST_LEFT = 0.1  # minimum distance from black and white with any signal
LEAST_SURROUNDINGS = 12  # px, minimum half side of the surroundings
FLATTEST = 0.3  # fraction of the possible places that counts as flat
STEP = 4  # px between candidate places
ROOM = 1.5  # minimum reach of the surroundings, in radii of the signal


def pixels(size: float, spacing: float | None) -> float:
    """Convert a size to px. spacing: mm per pixel; None if sizes are in px."""
    return size if spacing is None else size / spacing


def reach(signal: Signal, spacing: float | None = None, blur: float = 0.0) -> int:
    """Return half the side in px of a signal's bounding square; 0 for an edge, which is unbounded."""
    profile_of(signal.kind)
    if signal.kind == "edge":
        return 0
    if not signal.size > 0:
        raise UsageError(f"signal {signal.name!r} has no size; use a size above 0")
    size = pixels(signal.size, spacing)
    radius = size / 2
    if signal.kind in ("line", "dark-line"):
        radius = line_length(size) / 2
    elif signal.kind == "lattice":
        radius = LATTICE_PERIODS * size / 2
    elif signal.kind == "marker":
        radius = size
    return int(np.ceil(radius + MOST_BLUR * blur)) + 1


def draw(
    signal: Signal,
    shape: tuple[int, int],
    centre: tuple[float, float],
    spacing: float | None = None,
    blur: float = 0.0,
) -> FloatImage:
    """Draw one signal with its contrast into zeros: (H, W) float32 in [0, 1] units, negative if it is dark.

    blur: standard deviation in px of a Gaussian by which the detector blurs it; its MTF at f cycles/px is
    exp(-2 (pi blur f)^2). Raises UsageError for an unknown kind.
    """
    row, column = centre
    if signal.kind == "edge":  # drawn beyond the image, so that a blur does not see its end
        beyond = MOST_BLUR * int(np.ceil(blur))
        top, left, bottom, right = -beyond, -beyond, shape[0] + beyond, shape[1] + beyond
    else:
        half = reach(signal, spacing, blur)
        top, left = round(row) - half, round(column) - half
        bottom, right = top + 2 * half + 1, left + 2 * half + 1
    y, x = np.mgrid[top:bottom, left:right].astype(np.float64)
    profile = profile_of(signal.kind)(x - column, y - row, pixels(signal.size, spacing))
    if blur > 0:
        profile = np.asarray(cv2.GaussianBlur(profile, (0, 0), blur), dtype=np.float64)
    drawn = np.zeros(shape, np.float32)
    rows, columns = np.s_[max(top, 0) : max(bottom, 0)], np.s_[max(left, 0) : max(right, 0)]
    cut = drawn[rows, columns]
    inner = profile[max(-top, 0) : max(-top, 0) + cut.shape[0], max(-left, 0) : max(-left, 0) + cut.shape[1]]
    cut += _contrast(signal) * inner.astype(np.float32)
    return drawn


def _contrast(signal: Signal) -> np.float32:
    """Return the contrast in [0, 1] units; a dark line is dark whatever its sign."""
    return np.float32((-abs(signal.contrast) if signal.kind == "dark-line" else signal.contrast) / 255)


def _disc(x: Float64Array, y: Float64Array, size: float) -> Float64Array:
    """1 inside, with an edge one pixel wide."""
    return np.clip(size / 2 - np.hypot(x, y) + 0.5, 0, 1)


def _nodule(x: Float64Array, y: Float64Array, size: float) -> Float64Array:
    """The designer nodule (1 - (r / R)^2)^1.5, 0 beyond R = size / 2 (Burgess, Li and Abbey, JOSA A 14(9), 1997)."""
    return np.asarray(np.clip(1 - (x**2 + y**2) / (size / 2) ** 2, 0, None) ** DESIGNER_POWER)


def line_length(size: float) -> float:
    """Return the length of a line of a given width, px."""
    return max(LINE_LENGTH, LEAST_LENGTHS * size)


def _line(x: Float64Array, y: Float64Array, size: float) -> Float64Array:
    """An oblique line of Gaussian profile; size is its full width at half maximum."""
    across, along = turned(x, y, LINE_ANGLE)
    return np.asarray(
        np.exp(-((across * FWHM / size) ** 2) / 2) * np.clip((line_length(size) / 2 - np.abs(along)) / 2, 0, 1)
    )


def _lattice(x: Float64Array, y: Float64Array, size: float) -> Float64Array:
    """A patch of oblique bright and dark bars, cos(2 pi d / period), that fades towards its rim."""
    across, _ = turned(x, y, LINE_ANGLE)
    radius = LATTICE_PERIODS * size / 2
    return np.asarray(np.cos(2 * np.pi * across / size) * np.cos(np.pi / 2 * np.clip(np.hypot(x, y) / radius, 0, 1)))


def _edge(x: Float64Array, y: Float64Array, size: float) -> Float64Array:
    """A half-plane with an edge one pixel wide. size: not used."""
    across, _ = turned(x, y, EDGE_ANGLE)
    return np.clip(across + 0.5, 0, 1)


def _marker(x: Float64Array, y: Float64Array, size: float) -> Float64Array:
    """A letter of height `size`, with strokes about a sixth as wide."""
    drawn = np.zeros(x.shape, np.uint8)
    row, column = np.unravel_index(np.argmin(x**2 + y**2), x.shape)
    corner = (int(column) - round(size * 6 / LETTER_HEIGHT), int(row) + round(size / 2))
    stroke = max(round(size / LETTER_HEIGHT), 1)
    scale = LETTER_SCALE * size / LETTER_HEIGHT
    cv2.putText(drawn, LETTER, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, stroke, cv2.LINE_AA)
    return drawn / 255.0


def turned(x: Float64Array, y: Float64Array, angle: float) -> tuple[Float64Array, Float64Array]:
    """Return distances across and along a line through the origin. angle: between its normal and the rows, radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(cosine * x + sine * y), np.asarray(cosine * y - sine * x)


_PROFILES: dict[str, Callable[[Float64Array, Float64Array, float], Float64Array]] = {
    "disc": _disc,
    "nodule": _nodule,
    "line": _line,
    "dark-line": _line,
    "lattice": _lattice,
    "edge": _edge,
    "marker": _marker,
}


def profile_of(kind: str) -> Callable[[Float64Array, Float64Array, float], Float64Array]:
    """Return a signal of contrast 1 as a function (x, y, size) in px from its centre. Raises UsageError if unknown."""
    if kind not in _PROFILES:
        raise UsageError(f"unknown signal {kind!r}; use {', '.join(_PROFILES)}")
    return _PROFILES[kind]


def lay(
    image: FloatImage,
    signal: Signal,
    centres: Iterable[Sequence[float]],
    spacing: float | None = None,
    blur: float = 0.0,
) -> FloatImage:
    """Add one signal at every centre to a clean image, saturated at 0 and 1. Other arguments: see `draw`."""
    total = image.copy()
    for row, column in centres:
        total += draw(signal, (image.shape[0], image.shape[1]), (float(row), float(column)), spacing, blur)
    return np.clip(total, 0, 1, out=total)


def around(centre: Sequence[float], half: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the square with half side `half` around a centre, clipped to the image: `image[around(...)]`."""
    rows, columns = (
        slice(max(round(place) - half, 0), min(round(place) + half + 1, side))
        for place, side in zip(centre, shape[:2], strict=True)
    )
    return rows, columns


def places(image: FloatImage, signal: Signal, seed: int, count: int, spacing: float | None = None) -> Places:
    """Choose centres for a signal: (K, 2), row and column, K up to `count`, in random order from the seed.

    The surroundings stay clear of black and white with the signal and are among the flattest of the image; no two
    signals share surroundings. In a phantom they are mostly in the lungs, in a flat field anywhere. Raises UsageError
    if there is no place.
    """
    contrast = float(_contrast(signal))
    limits = SURROUNDING_BRIGHTNESS[0] - min(contrast, 0), SURROUNDING_BRIGHTNESS[1] - max(contrast, 0)
    return _places(image, signal.name, surroundings(signal, spacing), limits, seed, count)


def shared_places(
    image: FloatImage, signals: Sequence[Signal], seed: int, count: int, spacing: float | None = None
) -> Places:
    """Choose centres for any of the signals, none of which reaches black or white. Other arguments: see `places`."""
    contrasts = [float(_contrast(signal)) for signal in signals]
    low = max(SURROUNDING_BRIGHTNESS[0], LEAST_LEFT - min(contrasts))
    high = min(SURROUNDING_BRIGHTNESS[1], 1 - LEAST_LEFT - max(contrasts))
    widest = max(signals, key=lambda signal: surroundings(signal, spacing))
    return _places(image, widest.name, surroundings(widest, spacing), (low, high), seed, count)


def _places(image: FloatImage, name: str, half: int, limits: tuple[float, float], seed: int, count: int) -> Places:
    """limits: of the surroundings' mean brightness."""
    if 2 * half >= min(image.shape):
        raise _no_place(image, name, half)
    mean, sd = _surroundings_of(image, half)
    rows, columns = (np.arange(half, side - half, STEP) for side in image.shape)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    at = (grid[:, 0], grid[:, 1])
    grid = grid[(mean[at] >= limits[0]) & (mean[at] <= limits[1])]
    if not len(grid):
        raise _no_place(image, name, half)
    flatness = sd[grid[:, 0], grid[:, 1]]
    flat = grid[flatness <= np.quantile(flatness, FLATTEST)]
    return _apart(np.random.default_rng([seed, *image.shape]).permutation(flat), 2 * half + 1, count)


def _no_place(image: FloatImage, name: str, half: int) -> UsageError:
    return UsageError(
        f"signal {name!r}: no place for it in an image of {image.shape[1]} x {image.shape[0]} px; it needs "
        f"{2 * half + 1:.6g} px that are neither black nor white"
    )


def surroundings(signal: Signal, spacing: float | None = None) -> int:
    """Return half the side in px of a signal's surroundings, not shared with other signals."""
    return max(int(np.ceil(ROOM * reach(signal, spacing))), LEAST_SURROUNDINGS)


def _surroundings_of(image: FloatImage, half: int) -> tuple[Float64Array, Float64Array]:
    """Return mean and standard deviation in the square around every pixel."""
    wide = image.astype(np.float64)
    side = (2 * half + 1, 2 * half + 1)
    mean = cv2.blur(wide, side, borderType=cv2.BORDER_REFLECT_101)
    square = cv2.blur(wide**2, side, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(mean), np.sqrt(np.maximum(square - mean**2, 0))


def _apart(candidates: Places, distance: int, count: int) -> Places:
    """Return the first candidates with a minimum distance in either direction, up to `count`."""
    kept: list[Places] = []
    for place in candidates:
        if len(kept) == count:
            break
        if all(np.abs(place - other).max() >= distance for other in kept):
            kept.append(place)
    return np.array(kept, dtype=np.intp).reshape(-1, 2)


@dataclass(frozen=True)
class Search:
    """A search task: the signal is at one of several places, all known to the observer.

    candidates: (M, 2). truth: index of the place with the signal.
    """

    candidates: Places
    truth: int

    @property
    def centre(self) -> tuple[int, int]:
        row, column = self.candidates[self.truth]
        return int(row), int(column)


def search_task(candidates: Places, rng: np.random.Generator) -> Search:
    """Hide a signal at one of the candidates, with equal probability."""
    return Search(candidates, int(rng.integers(len(candidates))))


@dataclass(frozen=True)
class Cell:
    """One square of a contrast-detail array: centres of the discs in its middle and in one corner."""

    signal: Signal
    middle: tuple[float, float]
    corner: tuple[float, float]
    corner_index: int


def contrast_detail(
    diameters: Sequence[float],
    contrasts: Sequence[float],
    rng: np.random.Generator,
    spacing: float | None = None,
    side: int | None = None,
) -> tuple[FloatImage, list[Cell]]:
    """Draw a contrast-detail array: a square for each diameter (rows) and contrast (columns).

    As in the CDRAD phantom (Thijssen et al. 1989), each square has a disc in its middle and an identical one in a
    random corner: a reader who names the corner has seen it. side: px of a square; None: four times the largest
    diameter. Returns the discs alone, (H, W) float32 in [0, 1] units, and the squares row by row.
    """
    largest = max(pixels(diameter, spacing) for diameter in diameters)
    side = side or int(np.ceil(4 * largest))
    if side < 3 * largest:
        raise UsageError(
            f"squares of {side} px have no room for discs of {largest:g} px; use {int(3 * largest) + 1} or more"
        )
    total = np.zeros((side * len(diameters), side * len(contrasts)), np.float32)
    cells = []
    for row, diameter in enumerate(diameters):
        for column, contrast in enumerate(contrasts):
            middle = (side * (row + 0.5) - 0.5, side * (column + 0.5) - 0.5)
            index = int(rng.integers(4))
            move = side / 2 - largest * 0.75
            corner = (middle[0] + (-move, move)[index // 2], middle[1] + (-move, move)[index % 2])
            cell = Cell(Signal("disc", diameter, contrast), middle, corner, index)
            for centre in (middle, corner):
                total += draw(cell.signal, (total.shape[0], total.shape[1]), centre, spacing)
            cells.append(cell)
    return total, cells
