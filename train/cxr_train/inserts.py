"""Draw small objects into clean crops: markers, letters, tubes, wires, clips, lines, nodules.

Crops of soft tissue contain too few sharp bright objects, and a network that never saw them erases them (measured: 65%
of a lead marker's contrast kept). They are drawn before the noise, so the network must reproduce them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage

SHIFT = 4  # cv2 draws with 1/16 px coordinates
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
LETTERS = "LRABCDEFGHKMNPSTUWXYZ0123456789:/-"


def _unit(mask: NDArray[np.uint8]) -> FloatImage:
    return np.asarray(mask, dtype=np.float32) / np.float32(255)


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def _curve(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth quadratic Bezier curve across the crop, (40, 2) in px."""
    a, b, c = rng.uniform(-0.1 * side, 1.1 * side, (3, 2))
    t = np.linspace(0, 1, 40)[:, None]
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c


def _draw_text(side: int, text: str, origin: tuple[int, int], font: int, scale: float, stroke: int) -> FloatImage:
    """Draw text with its lower left corner at origin (x, y) in px; stroke: px. Returns a mask (side, side) in [0,
    1].
    """
    mask = np.zeros((side, side), np.uint8)
    cv2.putText(mask, text, origin, font, scale, 255, stroke, cv2.LINE_AA)
    return _unit(mask)


def _text(side: int, rng: np.random.Generator) -> FloatImage:
    text = "".join(rng.choice(list(LETTERS), rng.integers(1, 7)))
    origin = (int(rng.integers(-10, side - 20)), int(rng.integers(10, side)))
    scale = rng.uniform(0.3, 1.6)
    thickness = int(rng.integers(1, 4))
    return _draw_text(side, text, origin, FONTS[rng.integers(len(FONTS))], scale, thickness)


def _marker(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw a lead letter, often inside a ring."""
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


def _small_letter(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw a letter of 8 to 16 px with strokes of 1 or 2 px, as on small lead markers."""
    origin = (int(rng.integers(0, side - 12)), int(rng.integers(16, side)))
    letter, font = str(rng.choice(list(LETTERS))), FONTS[rng.integers(len(FONTS))]
    return _draw_text(side, letter, origin, font, rng.uniform(0.4, 0.8), int(rng.integers(1, 3)))


def _tube(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw a catheter: two walls, or one wall and a faint lumen."""
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


def _segment(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a straight or slightly bent segment, 12 px up to the crop's side long, (20, 2) in px."""
    start = rng.uniform(0, side, 2)
    angle, length, bend = rng.uniform(0, 2 * np.pi), rng.uniform(12, side), rng.normal(0, 0.15)
    t = np.linspace(0, 1, 20)[:, None]
    along = np.array([np.cos(angle), np.sin(angle)])
    return start + length * (t * along + bend * t * (1 - t) * along[::-1] * (1, -1))


def _thin_line(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw a fissure, vessel wall or wire of 0.7 to 3 px, at four times the resolution and averaged."""
    fine = 4
    points = _curve(side, rng) if rng.random() < 0.4 else _segment(side, rng)
    mask = np.zeros((side * fine, side * fine), np.uint8)
    thickness = int(np.rint(fine * rng.uniform(0.7, 2.2 if rng.random() < 0.8 else 3.0)))
    cv2.polylines(mask, [_fixed(points * fine)], False, 255, thickness, cv2.LINE_AA, SHIFT)
    line = _unit(np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8))
    if rng.random() < 0.5:
        return line
    return np.asarray(cv2.GaussianBlur(line, (0, 0), rng.uniform(0.3, 0.8)), dtype=np.float32)


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


@dataclass(frozen=True)
class Kind:
    """A kind of insert. draw: (side, rng) -> mask. weakest, strongest: contrast in [0, 1] units, drawn log-uniformly.
    dark: fraction darker than the surroundings. share: relative frequency.
    """

    draw: Callable[[int, np.random.Generator], FloatImage]
    weakest: float
    strongest: float
    dark: float
    share: float


# faint thin lines are hardest to preserve, nodules come next: they are drawn most often
INSERT_KINDS = (
    Kind(_text, 0.10, 0.90, dark=0.25, share=0.09),
    Kind(_marker, 0.15, 0.90, dark=0.3, share=0.11),
    Kind(_tube, 0.05, 0.40, dark=0.1, share=0.12),
    Kind(_clips, 0.15, 0.80, dark=0.1, share=0.08),
    Kind(_thin_line, 0.03, 0.25, dark=0.5, share=0.38),
    Kind(_nodules, 0.03, 0.20, dark=0.25, share=0.22),
)
# faint but visible at the doses used: their contrast must be preserved
FAINT = (
    Kind(_thin_line, 0.05, 0.12, dark=0.5, share=0.45),
    Kind(_nodules, 0.04, 0.10, dark=0.25, share=0.35),
    Kind(_small_letter, 0.15, 0.50, dark=0.6, share=0.2),
)


def draw_insert(
    crop: FloatImage, rng: np.random.Generator, kinds: Sequence[Kind] = INSERT_KINDS
) -> tuple[FloatImage, FloatImage]:
    """Add one object of a random kind to a square crop.

    crop: (S, S) float32 in [0, 1]. Returns the crop with the insert, clipped to [0, 1], and the insert's mask.
    """
    kind = kinds[rng.choice(len(kinds), p=[kind.share for kind in kinds])]
    mask = kind.draw(crop.shape[0], rng)
    contrast = np.exp(rng.uniform(np.log(kind.weakest), np.log(kind.strongest)))
    sign = -1.0 if rng.random() < kind.dark else 1.0
    return np.clip(crop + np.float32(sign * contrast) * mask, 0, 1), mask
