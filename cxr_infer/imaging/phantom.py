"""Render a chest phantom from a seed: attenuation along parallel rays, displayed as a radiograph.

Every structure adds its path length (cm) times its linear attenuation coefficient (1/cm, about 60 keV effective) to the
line integral of each ray; air in the lungs subtracts. Beer-Lambert gives the transmitted fraction of photons,
I / I0 = exp(-sum of mu * length). The display shows its logarithm, so bone is white as on film.

The patient's right is at the image's left, as in any frontal view. Lengths are fractions of the image's side, except
path lengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage

Map = NDArray[np.float64]  # (S, S): path length in cm, or a line integral

SMALLEST = 64  # px, smallest side at which the anatomy can be drawn
FIELD_CM = 38.0  # side of the imaged field
MU_SOFT = 0.20  # 1/cm, soft tissue
MU_LUNG = 0.055  # 1/cm, inflated lung
MU_BONE = 0.48  # 1/cm, cortical and spongy bone together
MU_CATHETER = 0.95  # 1/cm, barium-filled polymer
MU_LEAD = 12.0  # 1/cm, a thin letter of it
SCATTER_SHARE = 0.12  # scattered over primary photons, after the grid
SCATTER_WIDTH = 0.06  # image sides, spread of the scattered photons
DETECTOR_BLUR = 0.0007  # image sides, spread of the primary photons
DISPLAY_RANGE = (0.30, 4.9)  # line integrals, after the display's processing, shown as black and white
DETAIL_WIDTH = 0.035  # image sides; the display enhances contrasts finer than this
DETAIL_GAIN = 0.9  # gain of that enhancement
TISSUE_GRAIN = 0.012  # relative variation of tissue density


@dataclass(frozen=True)
class PixelCentres:
    """Pixel centres of a square image as fractions of its side: x to the right, y down."""

    side: int

    @cached_property
    def x(self) -> Map:
        return np.broadcast_to((np.arange(self.side) + 0.5) / self.side, (self.side, self.side))

    @cached_property
    def y(self) -> Map:
        return np.broadcast_to(((np.arange(self.side) + 0.5) / self.side)[:, None], (self.side, self.side))


def render_phantom(seed: int, size: int = 512) -> FloatImage:
    """Render one clean phantom.

    seed: patient; anatomy, nodule and catheter vary with it. size: px, side of the square image, at least 64.
    Returns (size, size) float32 in [0, 1], black 0, bone white; the same for the same arguments.
    Raises ValueError if `size` is too small.
    """
    if size < SMALLEST:
        raise ValueError(f"a phantom of {size} px is too small; use {SMALLEST} or more")
    rng = np.random.default_rng([seed, 2024])
    grid = PixelCentres(size)
    body = _torso(grid, rng)
    lungs, dome = _lungs(grid, rng)
    lungs = np.minimum(lungs, 0.85 * body)
    integral = MU_SOFT * body - (MU_SOFT - MU_LUNG) * lungs
    integral *= 1 + TISSUE_GRAIN * _grain(size, rng)
    integral += MU_SOFT * _mediastinum(grid, lungs, rng)
    integral += MU_SOFT * _vessels(grid, lungs, rng)
    integral += MU_BONE * _spine(grid, dome, rng)
    integral += MU_BONE * _ribs(grid, body, rng)
    integral += MU_BONE * _clavicles(grid, rng)
    integral += MU_SOFT * _nodule(grid, lungs, rng)
    integral += MU_CATHETER * _catheter(grid, rng)
    integral += MU_LEAD * _marker(grid)
    return _expose_and_display(np.maximum(integral, 0.0), size)


def _expose_and_display(integral: Map, size: int) -> FloatImage:
    """Apply Beer-Lambert, scatter, detector blur, logarithm and display window."""
    primary = cv2.GaussianBlur(np.exp(-integral), (0, 0), max(DETECTOR_BLUR * size, 0.3))
    scatter = cv2.GaussianBlur(primary, (0, 0), SCATTER_WIDTH * size, borderType=cv2.BORDER_REPLICATE)
    seen = -np.log(primary + SCATTER_SHARE * np.minimum(scatter, 3 * primary))
    broad = cv2.GaussianBlur(seen, (0, 0), DETAIL_WIDTH * size, borderType=cv2.BORDER_REPLICATE)
    low, high = DISPLAY_RANGE
    linear = np.clip((seen + DETAIL_GAIN * np.tanh(seen - broad) - low) / (high - low), 0, None)
    return np.asarray(np.minimum(1.06 * np.tanh(1.15 * linear) / np.tanh(1.15), 1), dtype=np.float32)


def _grain(size: int, rng: np.random.Generator) -> Map:
    """Return slowly varying tissue density: smooth noise of several widths, standard deviation about 1."""
    total = np.zeros((size, size))
    for cells in (12, 40, 110):
        coarse = rng.standard_normal((cells, cells))
        total += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) / np.sqrt(cells / 12)
    return total


def _smoothstep(value: Map) -> Map:
    t = np.clip(value, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _torso(grid: PixelCentres, rng: np.random.Generator) -> Map:
    """Return the thickness of chest, shoulders and neck: elliptic across, wider and thicker downwards."""
    x, y = grid.x, grid.y
    half = 0.41 + 0.05 * _smoothstep(y) + rng.normal(0, 0.008)
    shoulder = np.clip((y - 0.05 - 0.55 * np.maximum(np.abs(x - 0.5) - 0.13, 0)) / 0.10, 0, 1)
    across = np.clip(1 - ((x - 0.5) / half) ** 2, 0, 1)
    thickness = (16.5 + rng.normal(0, 0.8)) + 4.0 * y
    chest = thickness * across**0.42 * np.sqrt(shoulder)
    neck = 11.0 * np.sqrt(np.clip(1 - ((x - 0.5) / 0.125) ** 2, 0, 1)) * (1 - _smoothstep((y - 0.04) / 0.10))
    return np.asarray(np.maximum(chest, neck))


def _lungs(grid: PixelCentres, rng: np.random.Generator) -> tuple[Map, float]:
    """Return the air-filled length of both lungs, and the height of the higher diaphragm dome."""
    x, y = grid.x, grid.y
    total = np.zeros_like(x)
    right_dome = 0.735 + rng.normal(0, 0.012)
    for side in (-1, 1):  # the image's left is the patient's right
        centre = 0.5 + side * (0.205 + rng.normal(0, 0.004))
        apex = 0.115 + rng.normal(0, 0.008)
        dome = right_dome + (0.028 if side > 0 else 0.0)
        widest = 0.158 + rng.normal(0, 0.004)
        rise = np.clip((y - apex) / 0.52, 0, 1)
        half = widest * np.clip(1 - (1 - rise) ** 2.3, 0, 1) ** (1 / 1.9)
        lateral = (x - centre + side * 0.062 * (1 - rise) ** 1.4) / np.maximum(half, 1e-6)
        across = np.clip(1 - np.abs(lateral) ** 2.6, 0, 1)
        floor = dome + 0.62 * (x - centre + side * 0.03) ** 2 / widest
        above = _smoothstep((floor - y) / 0.030)
        total = np.maximum(total, 14.5 * across**0.55 * above * (0.72 + 0.28 * rise))
    return total, right_dome


def _mediastinum(grid: PixelCentres, lungs: Map, rng: np.random.Generator) -> Map:
    """Return heart, great vessels and aortic knob where they displace lung, less the air of the trachea."""
    x, y = grid.x, grid.y
    heart_x, heart_y = 0.553 + rng.normal(0, 0.006), 0.655 + rng.normal(0, 0.008)
    turn = 0.62
    u = ((x - heart_x) * np.cos(turn) + (y - heart_y) * np.sin(turn)) / (0.175 + rng.normal(0, 0.006))
    v = (-(x - heart_x) * np.sin(turn) + (y - heart_y) * np.cos(turn)) / 0.128
    heart = np.minimum(9.5 * np.clip(1 - u**2 - v**2, 0, 1) ** 0.75, 0.8 * lungs)
    vena_cava = 3.8 * np.sqrt(np.clip(1 - ((x - 0.468) / 0.032) ** 2, 0, 1)) * _smoothstep((y - 0.16) / 0.1)
    knob = 3.6 * np.sqrt(np.clip(1 - ((x - 0.553) / 0.034) ** 2 - ((y - 0.335) / 0.042) ** 2, 0, 1))
    column = 5.0 * np.sqrt(np.clip(1 - ((x - 0.5) / 0.062) ** 2, 0, 1))
    vessels = np.maximum(np.maximum(vena_cava * (y < 0.75), knob), column)
    displaced = np.maximum(heart, np.minimum(vessels, np.maximum(0.8 * lungs, 2.0)))
    bifurcation = 0.38
    spread = np.maximum(y - bifurcation, 0) * 0.75
    airway = np.minimum(np.abs(x - 0.497 - spread), np.abs(x - 0.497 + spread))
    trachea = 1.9 * np.sqrt(np.clip(1 - (airway / 0.021) ** 2, 0, 1)) * (1 - _smoothstep((y - 0.41) / 0.04))
    return np.asarray(displaced - trachea)


def _tube(grid: PixelCentres, points: Map, radius: Map, hollow: float = 0.0) -> Map:
    """Return the path length through a curved tube, in cm. hollow: empty fraction of the radius; see `_lay_tube`."""
    wall = np.zeros((grid.side, grid.side))
    _lay_tube(wall, grid, points, radius)
    if hollow:
        lumen = np.zeros_like(wall)
        _lay_tube(lumen, grid, points, hollow * radius)
        wall -= lumen
    return wall


def _lay_tube(total: Map, grid: PixelCentres, points: Map, radius: Map) -> None:
    """Add a solid curved tube to a map of path lengths in cm, in place.

    points: (K, 2) of x, y; radius: (K,), both as fractions of the side. Segments are joined by taking the longest path,
    which is exact for a straight tube.
    """
    side = grid.side
    starts, ends = points[:-1], points[1:]
    reach = (np.maximum(radius[:-1], radius[1:]) + 1.5 / side)[:, None]
    lows = np.floor((np.minimum(starts, ends) - reach) * side).astype(int).clip(0, side)
    highs = np.ceil((np.maximum(starts, ends) + reach) * side).astype(int).clip(0, side)
    row, column = grid.x[0], grid.y[:, :1]  # broadcast: there are thousands of small patches
    for (left, top), (right, bottom), a, direction, ra, rb in zip(
        lows.tolist(), highs.tolist(), starts, ends - starts, radius[:-1], radius[1:], strict=True
    ):
        if right <= left or bottom <= top:
            continue
        from_left, from_top = row[left:right] - a[0], column[top:bottom] - a[1]
        along = (from_left * direction[0] + from_top * direction[1]) / max(direction @ direction, 1e-12)
        along = np.minimum(np.maximum(along, 0, out=along), 1, out=along)
        squared = (from_left - along * direction[0]) ** 2 + (from_top - along * direction[1]) ** 2
        patch = total[top:bottom, left:right]
        np.maximum(patch, _chord(ra + along * (rb - ra), squared), out=patch)


def _chord(radius: Map, squared_distance: Map) -> Map:
    """Return the length in cm of a ray's chord through a circle, at a squared distance from its centre."""
    return np.asarray(2 * FIELD_CM * np.sqrt(np.maximum(radius**2 - squared_distance, 0)))


def _vessels(grid: PixelCentres, lungs: Map, rng: np.random.Generator) -> Map:
    """Return pulmonary vessels: trees that leave both hila, fork and taper to a fraction of a pixel."""
    total = np.zeros((grid.side, grid.side))
    for side in (-1, 1):
        hilum = np.array([0.5 + side * 0.085, 0.45])
        for angle in np.linspace(-1.25, 1.35, 9) + rng.normal(0, 0.08, 9):
            for points, radius in _branches(hilum, angle, side, 0.0115 * rng.uniform(0.7, 1.1), 0, rng):
                _lay_tube(total, grid, points, radius)
    return total * np.clip(lungs / 4.0, 0, 1)


def _branches(
    start: Map, angle: float, side: int, radius: float, depth: int, rng: np.random.Generator
) -> Iterator[tuple[Map, Map]]:
    """Yield a vessel and all its branches as pairs of points (K, 2) and radius (K,)."""
    steps = 6
    length = (0.13 if depth == 0 else 0.085) * rng.uniform(0.7, 1.2) * 0.92**depth
    angles = angle + np.cumsum(rng.normal(0, 0.09, steps))
    moves = np.stack([side * np.cos(angles), np.sin(angles)], axis=1) * length / steps
    points = np.concatenate([start[None], start + np.cumsum(moves, axis=0)])
    yield points, np.linspace(radius, 0.72 * radius, steps + 1)
    if depth == 4:
        return
    for fork in (rng.uniform(0.15, 0.55), -rng.uniform(0.15, 0.55)):
        yield from _branches(points[-1], angles[-1] + fork, side, radius * rng.uniform(0.58, 0.76), depth + 1, rng)


def _spine(grid: PixelCentres, dome: float, rng: np.random.Generator) -> Map:
    """Return vertebral bodies, less dense discs between them, and spinous processes."""
    x, y = grid.x, grid.y
    height = 0.056
    phase = ((y + rng.uniform(0, height)) / height) % 1.0
    disc = _smoothstep((np.abs(phase - 0.5) - 0.36) / 0.08)
    width = 0.040 + 0.010 * y
    body = np.sqrt(np.clip(1 - ((x - 0.5) / width) ** 4, 0, 1))
    process = np.exp(-(((x - 0.5) / 0.008) ** 2) - ((phase - 0.55) / 0.2) ** 2)
    below = 1 + 0.15 * _smoothstep((y - dome) / 0.1)
    return (1.15 * body * (1 - 0.5 * disc) + 0.5 * process) * below


def _ribs(grid: PixelCentres, body: Map, rng: np.random.Generator) -> Map:
    """Return ten pairs of ribs: each leaves the spine, curves outwards and down, and returns fainter in front."""
    total = np.zeros((grid.side, grid.side))
    for side in (-1, 1):
        for index in range(10):
            top = 0.115 + 0.062 * index + rng.normal(0, 0.003)
            reach = min(0.20 + 0.045 * index, 0.375) + rng.normal(0, 0.004)
            drop = 0.045 + 0.016 * index
            t = np.linspace(0, 1, 30)
            back = np.stack(
                [0.5 + side * (0.045 + (reach - 0.045) * np.sin(t * np.pi / 2)), top + drop * t**1.7], axis=1
            )
            t = np.linspace(0, 0.66, 22)
            sweep = back[-1, 0] - side * (reach - 0.06) * (1 - np.cos(t * np.pi / 2))
            front = np.stack([sweep, back[-1, 1] + (0.055 + 0.012 * index) * np.sin(t * np.pi / 2)], axis=1)
            thick = 0.0125 + rng.normal(0, 0.0006)
            total += 0.55 * _tube(grid, back, np.full(len(back), thick), hollow=0.80)
            total += 0.34 * _tube(grid, front, np.full(len(front), thick * 1.05), hollow=0.80)
    return total * (body > 0)


def _clavicles(grid: PixelCentres, rng: np.random.Generator) -> Map:
    total = np.zeros((grid.side, grid.side))
    for side in (-1, 1):
        t = np.linspace(0, 1, 30)
        tilt = rng.normal(0, 0.008)
        points = np.stack(
            [0.5 + side * (0.045 + 0.29 * t), 0.205 - (0.075 + tilt) * t + 0.022 * np.sin(2 * np.pi * t)], axis=1
        )
        total += 0.75 * _tube(grid, points, 0.0145 + 0.003 * np.cos(2 * np.pi * t), hollow=0.72)
    return total


def _nodule(grid: PixelCentres, lungs: Map, rng: np.random.Generator) -> Map:
    """Return one solid nodule of 9 to 14 mm in the lungs, away from their edges."""
    inside = np.argwhere((lungs > 0.75 * lungs.max()) & (np.abs(grid.x - 0.5) > 0.13))
    y, x = (inside[rng.integers(len(inside))] + 0.5) / grid.side
    radius = rng.uniform(0.45, 0.70) / FIELD_CM
    squared = (grid.x - x) ** 2 + (grid.y - y) ** 2
    return 1.3 * _chord(np.asarray(radius), squared)


def _catheter(grid: PixelCentres, rng: np.random.Generator) -> Map:
    """Return a central venous line, wall and lumen, from the patient's right shoulder to the superior vena cava."""
    t = np.linspace(0, 1, 60)[:, None]
    a, b = np.array([[0.20, 0.02]]), np.array([[0.30 + rng.normal(0, 0.01), 0.30]])
    c, d = np.array([[0.47, 0.17 + rng.normal(0, 0.01)]]), np.array([[0.472, 0.50 + rng.normal(0, 0.015)]])
    points = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
    return _tube(grid, points, np.full(len(points), 0.0036), hollow=0.45)


def _marker(grid: PixelCentres) -> Map:
    """Return a lead letter L over the patient's left shoulder, 1.2 mm thick, drawn at four times the resolution."""
    fine = 4 * grid.side
    mask = np.zeros((fine, fine), np.uint8)
    left, top, height, stroke = 0.868, 0.055, 0.060, 0.012
    corners = [
        ((left, top), (left + stroke, top + height)),
        ((left, top + height - stroke), (left + 0.036, top + height)),
    ]
    for (x0, y0), (x1, y1) in corners:
        mask[round(y0 * fine) : round(y1 * fine), round(x0 * fine) : round(x1 * fine)] = 255
    return np.asarray(cv2.resize(mask, (grid.side, grid.side), interpolation=cv2.INTER_AREA) / 255.0 * 0.12 * 2.2)
