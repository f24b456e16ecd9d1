"""Draw small things into clean crops: markers, letters, tubes, wires, clips, lines, nodules.

Crops of soft tissue hold too few sharp bright things, and a network that never saw them erases them (measured: 65% of
a lead marker's contrast kept). Drawn before the noise, they are part of what the network must give back.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]

SHIFT = 4  # cv2 draws with 1/16 px coordinates
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
LETTERS = "LRABCDEFGHKMNPSTUWXYZ0123456789:/-"


def _unit(mask: NDArray[np.uint8]) -> FloatImage:
    return np.asarray(mask, dtype=np.float32) / np.float32(255)


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def _curve(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth quadratic Bezier across the crop, (40, 2) in px."""
    a, b, c = rng.uniform(-0.1 * side, 1.1 * side, (3, 2))
    t = np.linspace(0, 1, 40)[:, None]
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c


def _line_mask(side: int, rng: np.random.Generator, thickness: int) -> FloatImage:
    mask = np.zeros((side, side), np.uint8)
    cv2.polylines(mask, [_fixed(_curve(side, rng))], False, 255, thickness, cv2.LINE_AA, SHIFT)
    return _unit(mask)


def _text(side: int, rng: np.random.Generator) -> FloatImage:
    mask = np.zeros((side, side), np.uint8)
    text = "".join(rng.choice(list(LETTERS), rng.integers(1, 7)))
    origin = (int(rng.integers(-10, side - 20)), int(rng.integers(10, side)))
    scale = rng.uniform(0.3, 1.6)
    thickness = int(rng.integers(1, 4))
    cv2.putText(mask, text, origin, FONTS[rng.integers(len(FONTS))], scale, 255, thickness, cv2.LINE_AA)
    return _unit(mask)


def _marker(side: int, rng: np.random.Generator) -> FloatImage:
    """A lead letter, often inside a ring or a plate."""
    mask = np.zeros((side, side), np.uint8)
    centre = rng.integers(side // 5, side - side // 5, 2)
    height = int(rng.integers(12, 40))
    scale = height / 22
    origin = (int(centre[0] - 0.45 * height), int(centre[1] + 0.5 * height))
    letter = str(rng.choice(list(LETTERS)))
    cv2.putText(mask, letter, origin, FONTS[rng.integers(len(FONTS))], scale, 255, int(rng.integers(2, 6)), cv2.LINE_AA)
    if rng.random() < 0.4:
        cv2.circle(mask, (int(centre[0]), int(centre[1])), height, 255, int(rng.integers(1, 4)), cv2.LINE_AA)
    return _unit(mask)


def _tube(side: int, rng: np.random.Generator) -> FloatImage:
    """A catheter: two walls, or one wall and a faint lumen."""
    curve = _curve(side, rng)
    width = rng.integers(3, 9)
    outer, inner = (np.zeros((side, side), np.uint8) for _ in range(2))
    cv2.polylines(outer, [_fixed(curve)], False, 255, int(width), cv2.LINE_AA, SHIFT)
    cv2.polylines(inner, [_fixed(curve)], False, 255, max(int(width) - 2, 1), cv2.LINE_AA, SHIFT)
    return np.clip(_unit(outer) - np.float32(rng.uniform(0.4, 1.0)) * _unit(inner), 0, 1)


def _clips(side: int, rng: np.random.Generator) -> FloatImage:
    mask = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(1, 4)):
        start = rng.uniform(0, side, 2)
        direction = rng.normal(size=2)
        end = start + direction / np.linalg.norm(direction) * rng.uniform(3, 12)
        a, b = _fixed(np.stack([start, end]))
        cv2.line(mask, tuple(map(int, a)), tuple(map(int, b)), 255, int(rng.integers(1, 4)), cv2.LINE_AA, SHIFT)
    return _unit(mask)


def _thin_line(side: int, rng: np.random.Generator) -> FloatImage:
    """A fissure, vessel wall or wire of about 0.7 to 3 px."""
    mask = _line_mask(side, rng, int(rng.integers(1, 4)))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.3, 0.9)), dtype=np.float32)


def _nodules(side: int, rng: np.random.Generator) -> FloatImage:
    y, x = np.mgrid[:side, :side]
    mask = np.zeros((side, side), np.float32)
    for _ in range(rng.integers(1, 4)):
        sigma = rng.uniform(1.0, 7.0)
        cx, cy = rng.uniform(0, side, 2)
        distance = ((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)
        # a Gaussian, or the flatter disc of a dense nodule
        mask = np.maximum(mask, np.exp(-distance if rng.random() < 0.6 else -(distance**2)).astype(np.float32))
    return mask


# (how it is drawn, smallest and largest contrast in [0, 1] units, share that is darker than its surroundings)
KINDS: tuple[tuple[Callable[[int, np.random.Generator], FloatImage], float, float, float], ...] = (
    (_text, 0.10, 0.90, 0.25),
    (_marker, 0.15, 0.90, 0.25),
    (_tube, 0.05, 0.40, 0.1),
    (_clips, 0.15, 0.80, 0.1),
    (_thin_line, 0.04, 0.30, 0.4),
    (_nodules, 0.03, 0.20, 0.2),
)


def draw_insert(crop: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, FloatImage]:
    """Add one thing of a random kind to a square crop.

    crop: (S, S) float32 in [0, 1]. Returns the crop with the insert, clipped to [0, 1], and the insert's mask.
    """
    draw, weakest, strongest, dark = KINDS[rng.integers(len(KINDS))]
    mask = draw(crop.shape[0], rng)
    contrast = np.exp(rng.uniform(np.log(weakest), np.log(strongest)))
    sign = -1.0 if rng.random() < dark else 1.0
    return np.clip(crop + np.float32(sign * contrast) * mask, 0, 1), mask
