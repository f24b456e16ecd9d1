"""Draw fine, regular structure that is not noise: line pairs, meshes, halftones, pages of text, compressed pictures.

A network trained on chests alone takes them for noise and erases them, or includes them in its estimate of the noise.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from cxr_infer.imaging.pixels import FloatImage
from cxr_train.inserts import FONTS, LETTERS

Draw = Callable[[int, np.random.Generator], FloatImage]  # (side, rng) -> mask (side, side) in [0, 1]


def _waves(side: int, rng: np.random.Generator, angle: float, period: float) -> FloatImage:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    phase = (x * np.cos(angle) + y * np.sin(angle)) / period + rng.random()
    return np.asarray(np.sin(2 * np.pi * phase), dtype=np.float32)


def _angle(rng: np.random.Generator) -> float:
    """Draw an angle, mostly along an axis or a diagonal, as test objects and grids are placed."""
    return float(rng.integers(4) * np.pi / 4 if rng.random() < 0.6 else rng.uniform(0, np.pi))


def _period(rng: np.random.Generator, angle: float = 0.0, longest: float = 24) -> float:
    """Draw a period in px, from the finest that pixels can represent at that angle."""
    finest = 2.05 * max(abs(np.cos(angle)), abs(np.sin(angle)))
    return float(np.exp(rng.uniform(np.log(finest), np.log(longest))))


def _line_pairs(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw bars with soft edges, all of one period or a fan of several groups."""
    angle, mask = _angle(rng), np.zeros((side, side), np.float32)
    groups = int(rng.integers(1, 5))
    for group in range(groups):
        part = slice(group * side // groups, (group + 1) * side // groups)
        mask[part] = np.clip(0.5 + rng.uniform(0.5, 3.0) * _waves(side, rng, angle, _period(rng, angle))[part], 0, 1)
    return mask if rng.random() < 0.5 else np.ascontiguousarray(mask.T)


def _test_object(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw many small groups of bars with different periods and a few discs, as in an image quality phantom."""
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        centre = [int(value) for value in rng.integers(0, side * 16, 2)]
        cv2.circle(mask, centre, int(rng.uniform(4, side / 2) * 16), float(rng.uniform(0.1, 0.5)), -1, cv2.LINE_AA, 4)
    for _ in range(int(rng.integers(3, 14))):
        height, width = rng.integers(12, max(side // 3, 13), 2)
        top, left = int(rng.integers(0, side - height)), int(rng.integers(0, side - width))
        angle, contrast = _angle(rng), np.exp(rng.uniform(np.log(0.02), 0))
        bars = 0.5 + rng.uniform(0.5, 4.0) * _waves(side, rng, angle, _period(rng, angle, 10))
        part = slice(top, top + height), slice(left, left + width)
        mask[part] = (1 - contrast) * mask[part] + contrast * np.clip(bars[part], 0, 1)
    blur = rng.uniform(0.3, 1.3)  # of the detector
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.float32)


def _mesh(side: int, rng: np.random.Generator) -> FloatImage:
    angle, period, sharp = _angle(rng), _period(rng), rng.uniform(0.5, 3.0)
    bars = [np.clip(0.5 + sharp * (_waves(side, rng, angle + turn, period) - 0.5), 0, 1) for turn in (0, np.pi / 2)]
    return np.asarray(np.maximum(*bars), dtype=np.float32)


def _halftone(side: int, rng: np.random.Generator) -> FloatImage:
    angle, period = rng.uniform(0, np.pi), rng.uniform(2.5, 10)
    dots = _waves(side, rng, angle, period) * _waves(side, rng, angle + np.pi / 2, period)
    shade = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), side / 8)
    return np.asarray(np.clip(0.5 + 3 * (dots + 0.6 * shade / shade.std()), 0, 1), dtype=np.float32)


def _page(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw lines of text, as in a dose report or a requisition."""
    page, font, scale = np.zeros((side, side), np.uint8), int(FONTS[rng.integers(len(FONTS))]), rng.uniform(0.25, 0.9)
    weight = int(rng.integers(1, 3))
    kind = cv2.LINE_AA if rng.random() < 0.5 else cv2.LINE_8
    for row in range(int(rng.integers(4, 20)), side + 10, max(int(rng.uniform(18, 34) * scale) + 3, 9)):
        text = "".join(rng.choice(list(LETTERS + LETTERS.lower() + "     "), 60))
        cv2.putText(page, text, (int(rng.integers(-8, 12)), row), font, scale, 255, weight, kind)
    return np.asarray(page, dtype=np.float32) / np.float32(255)


def _star(side: int, rng: np.random.Generator) -> FloatImage:
    y, x = np.mgrid[:side, :side] - rng.uniform(0, side, 2)[:, None, None]
    rays = np.sin(np.arctan2(y, x) * int(rng.integers(12, 60)))
    rings = np.sin(2 * np.pi * np.hypot(y, x) / _period(rng))
    return np.asarray(np.clip(0.5 + 2 * (rays if rng.random() < 0.6 else rings), 0, 1), dtype=np.float32)


def _discs(side: int, rng: np.random.Generator) -> FloatImage:
    """Draw an array of discs that grow along one axis and fade along the other, as in contrast-detail phantoms."""
    mask, step = np.zeros((side, side), np.float32), int(rng.integers(16, 40))
    for row in range(step // 2, side, step):
        for column in range(step // 2, side, step):
            radius = 0.5 + 0.4 * step * row / side
            cv2.circle(mask, (column * 16, row * 16), int(radius * 16), float(0.1 + 0.9 * column / side), -1, 16, 4)
    return mask


PATTERNS: tuple[Draw, ...] = (
    *(_test_object,) * 4,
    *(_line_pairs,) * 2,
    *(_page,) * 2,
    _mesh,
    _halftone,
    _star,
    _discs,
)


def draw_pattern(crop: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return a crop (S, S) float32 in [0, 1] with a pattern over all of it, over a part, or on a plain background."""
    side = crop.shape[0]
    mask = PATTERNS[rng.integers(len(PATTERNS))](side, rng)
    if rng.random() < 0.4:  # on a plain background
        low, high = sorted(rng.uniform(0, 1, 2)) if rng.random() < 0.8 else (0.0, 1.0)
        ground = _plain(side, rng)
        drawn = low + (high - low) * (mask if rng.random() < 0.7 else 1 - mask) + 0.1 * (ground - 0.5)
        return np.asarray(np.clip(drawn, 0, 1), dtype=np.float32)
    contrast = np.exp(rng.uniform(np.log(0.02), np.log(0.6))) * (1 if rng.random() < 0.5 else -1)
    if rng.random() < 0.6:  # a patch
        top, left = rng.integers(0, side // 2, 2)
        height, width = rng.integers(side // 6, side // 2, 2)
        patch = np.zeros_like(mask)
        patch[top : top + height, left : left + width] = 1
        mask = mask * patch
    return np.asarray(np.clip(crop + np.float32(contrast) * mask, 0, 1), dtype=np.float32)


def _plain(side: int, rng: np.random.Generator) -> FloatImage:
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    slope = rng.standard_normal(2)
    return np.asarray(np.clip(0.5 + 0.5 * (slope[0] * (x - 0.5) + slope[1] * (y - 0.5)), 0, 1), dtype=np.float32)


def draw_processed(crop: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return a crop after other processing: JPEG compression, smoothing, or a flat border."""
    kind = rng.random()
    if kind < 0.35:
        stored = np.rint(crop * 255).astype(np.uint8)
        quality = int(rng.integers(25, 95))
        packed = cv2.imencode(".jpg", stored, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.float32) / np.float32(255)
    if kind < 0.6:
        return np.asarray(cv2.medianBlur(crop, 5) if rng.random() < 0.4 else cv2.bilateralFilter(crop, 5, 0.1, 2))
    if kind < 0.8:
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.5, 2)), dtype=np.float32)
    bordered = crop.copy()
    cut, value = int(rng.integers(8, crop.shape[0] // 2)), np.float32(rng.integers(2) if rng.random() < 0.8 else 0.2)
    for _ in range(int(rng.integers(4))):
        bordered = np.rot90(bordered)
    bordered = np.ascontiguousarray(bordered)
    bordered[:cut] = value
    return bordered
