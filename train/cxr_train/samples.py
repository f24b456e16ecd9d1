"""What one training step sees. Batch `step` depends on (seed, step) alone, so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxr_infer.errors import ModelError
from cxr_infer.imaging.mottle import TAP_SPACING, estimate_mottle, to_square_root_level
from cxr_infer.imaging.pixels import to_unit
from cxr_infer.model.card import DENOISED, NOISE_LEVEL, NOISY
from cxr_infer.model.session import card_of, open_session, read_model
from cxr_train.config import NoiseConfig, TrainConfig
from cxr_train.data import XrayImages
from cxr_train.inserts import FAINT, draw_insert
from cxr_train.models import WindowDenoisingAutoencoder
from cxr_train.noise import (
    MOST_BLUR,
    PUBLISHED_PHOTONS_AT_WHITE,
    Detector,
    Display,
    correlated_mottle,
    quantise,
    saturating_mottle,
)

FloatImage = NDArray[np.float32]
# noisy, clean and weight, (S, S) each, then the two levels of Batch
Crop = tuple[FloatImage, FloatImage, FloatImage, float, float]

PAIR_DOSES = (40.0, 1200.0)  # photons at white: below it a faint line is no longer there to be kept
UNROUNDED_SHARE = 0.1  # crops kept at float precision, as 16-bit files have it
SATURATED_SHARE = 0.2  # crops brightened, so that more of them are partly saturated
FULL_SIZE = 768  # px: images at least this large are also shown at random smaller scales
ERROR_PER_BLUR = 1.3  # relative root mean square error that each px of blurred quanta leaves more, measured
ERROR_EXPONENT = 0.7  # of the level, with which the error of plain mottle grows, measured
DARK = 0.05  # [0, 1]: the square-root level of detector mottle is taken over brighter pixels


@dataclass(frozen=True)
class Batch:
    """noisy, clean: (N, 1, S, S) float32 in [0, 1]. Levels: (N,) square-root domain sd. weight: (N, 1, S, S)."""

    noisy: Tensor
    clean: Tensor
    level: Tensor  # as the network is told it, a little off
    error_level: Tensor  # of plain mottle that leaves as much error as the crop's own noise
    weight: Tensor
    quantised: bool = False  # whether the step computes on the 8-bit grids
    pairs: int = 0  # the last 2 * pairs crops are pairs: one with faint inserts, then the same without, in equal noise
    taught: Tensor | None = None  # what the teacher makes of the noisy crops, where there is one

    def pin_memory(self) -> Batch:
        """In memory from which a GPU fetches while the CPU goes on."""
        return self._changed(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> Batch:
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            noisy=change(self.noisy),
            clean=change(self.clean),
            level=change(self.level),
            error_level=change(self.error_level),
            weight=change(self.weight),
            taught=None if self.taught is None else change(self.taught),
        )


class Samples(Protocol):
    """Batches by the number of the training step."""

    def batch(self, step: int) -> Batch: ...


class WindowSamples(Samples):
    """Crops of X-rays at random scale and orientation, with inserts, mottle and its level."""

    def __init__(self, images: XrayImages, config: TrainConfig) -> None:
        self.images, self.config = images, config
        self._own_levels: dict[int, float] = {}
        self._teacher: Any = None  # opened by the process that draws: a session cannot be copied into another
        if config.teacher is not None:
            path = Path(config.teacher)
            if not card_of(_open_teacher(path), path).told_noise_level:
                raise ModelError(f"{path}: is no model of windows told the noise level; teach with one like `window`")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_teacher": None}

    def own_level(self, index: int) -> float:
        """The mottle that a released image carries itself, which the estimate at inference will see as well."""
        if index not in self._own_levels:
            self._own_levels[index] = estimate_mottle(to_unit(self.images[index])).level
        return self._own_levels[index]

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, step])
        pairs = min(self.config.pairs, (self.config.batch - 1) // 2)
        parts = [self._one(rng) for _ in range(self.config.batch - 2 * pairs)]
        for _ in range(pairs):
            parts.extend(self._pair(rng))
        columns = zip(*parts, strict=True)
        noisy, clean, weight, told, true = (torch.from_numpy(np.asarray(c, dtype=np.float32)) for c in columns)
        quantised = bool(rng.random() < self.config.quantised_share)
        taught = None if self.config.teacher is None else self._taught(Path(self.config.teacher), noisy[:, None], told)
        return Batch(noisy[:, None], clean[:, None], told, true, weight[:, None], quantised, pairs, taught)

    def _taught(self, teacher: Path, noisy: Tensor, level: Tensor) -> Tensor:
        """What the teacher makes of crops (N, 1, S, S), told their levels (N,). Raises ModelError."""
        if self._teacher is None:
            self._teacher = _open_teacher(teacher)
        side = -self.config.crop % WindowDenoisingAutoencoder.STRIDE
        padded = F.pad(noisy, (0, side, 0, side), mode="replicate")
        (taught,) = self._teacher.run([DENOISED], {NOISY: padded.numpy(), NOISE_LEVEL: level.numpy()})
        return torch.from_numpy(taught[..., : self.config.crop, : self.config.crop])

    def _pair(self, rng: np.random.Generator) -> list[Crop]:
        """A crop with faint inserts and the same crop without, under one and the same noise."""
        index = int(rng.integers(len(self.images)))
        without = random_crop(self.images[index], self.config.crop, rng)
        marked = without
        for _ in range(rng.integers(1, self.config.most_inserts + 1)):
            marked, _mask = draw_insert(marked, rng, FAINT)
        white = log_uniform(*PAIR_DOSES, rng)
        noise = saturating_mottle(without, white, rng) - without
        level = float(np.hypot(to_square_root_level(white), self.own_level(index)))
        told = level * float(np.exp(self.config.noise.level_jitter * rng.standard_normal()))
        return [(quantise(clean + noise), clean, np.ones_like(clean), told, level) for clean in (marked, without)]

    def _one(self, rng: np.random.Generator) -> Crop:
        index = int(rng.integers(len(self.images)))
        clean = random_crop(self.images[index], self.config.crop, rng)
        mask = np.zeros_like(clean)
        if rng.random() < self.config.insert_share:
            for _ in range(rng.integers(1, self.config.most_inserts + 1)):
                clean, drawn = draw_insert(clean, rng)
                mask = np.maximum(mask, drawn)
        noisy, clean, level, blur = add_noise(clean, self.config.noise, rng)
        own, weight = self.own_level(index), 1 + self.config.insert_weight * mask
        told = np.hypot(level * share_of_level_seen(blur), own)
        told *= np.exp(self.config.noise.level_jitter * rng.standard_normal())
        harder = (1 + ERROR_PER_BLUR * blur) ** (1 / ERROR_EXPONENT)
        return noisy, clean, weight.astype(np.float32), float(told), float(np.hypot(level, own) * harder)


def _open_teacher(path: Path) -> Any:
    return open_session(read_model(path), path, threads=1)


def random_crop(image: NDArray[np.uint8], side: int, rng: np.random.Generator) -> FloatImage:
    """A square of an image, from large images also at a smaller scale, flipped, turned and with a random gamma."""
    scale = rng.uniform(0.5, 1.0) if min(image.shape) >= FULL_SIZE and rng.random() < 0.7 else 1.0
    source = min(int(np.ceil(side / scale)), *image.shape)
    top, left = (int(rng.integers(0, extent - source + 1)) for extent in image.shape)
    crop = to_unit(image[top : top + source, left : left + source])
    if source != side:
        crop = np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), dtype=np.float32)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    crop = np.rot90(crop, int(rng.integers(4)))
    if rng.random() < 0.3:
        crop = crop ** np.float32(np.exp(0.25 * rng.standard_normal()))
    if rng.random() < SATURATED_SHARE:
        crop = np.minimum(crop * np.float32(rng.uniform(1.0, 2.2)), np.float32(1))
    return np.ascontiguousarray(crop)


def add_noise(
    clean: FloatImage, config: NoiseConfig, rng: np.random.Generator
) -> tuple[FloatImage, FloatImage, float, float]:
    """Noise of a random kind and dose.

    Returns the noisy and the clean crop, the square-root level of the noise and the blur of its quanta in px. The clean
    crop is the one given, but behind a detector both go through the same display processing.
    """
    kind = rng.random()
    if kind < config.clean_share:
        return clean, clean, 0.0, 0.0
    if kind < config.clean_share + config.detector_share:
        detector, display = Detector.draw(rng), Display.draw(rng)
        noisy, clean, blur = display.show(detector.expose(clean, rng)), display.show(clean), detector.blur
        level = square_root_level(clean, noisy) * float(np.exp(config.detector_level_jitter * rng.standard_normal()))
    else:
        white = log_uniform(config.lowest_dose, config.highest_dose, rng)
        blurred = kind < config.clean_share + config.detector_share + config.blurred_share
        blur = rng.uniform(0, MOST_BLUR) if blurred else 0.0
        noisy = correlated_mottle(clean, white, blur, rng) if blurred else saturating_mottle(clean, white, rng)
        level = float(to_square_root_level(white))
    return (noisy if rng.random() < UNROUNDED_SHARE else quantise(noisy)), clean, level, blur


def share_of_level_seen(blur: float) -> float:
    """Share of the level of mottle with Gaussian-blurred quanta that `estimate_mottle` finds.

    blur: px. Noise whose quanta spread by a Gaussian is correlated by exp(-(d / (2 blur))^2) over a distance d; the
    high-pass 1 -2 1 of either direction, with its taps TAP_SPACING apart, lets this share of it through.
    """
    if blur <= 0:
        return 1.0
    near, far = (np.exp(-((lag * TAP_SPACING / (2 * blur)) ** 2)) for lag in (1, 2))
    return float((6 - 8 * near + 2 * far) / 6)


def square_root_level(clean: FloatImage, noisy: FloatImage) -> float:
    """Standard deviation of the noise in the square-root domain, over pixels neither dark nor saturated."""
    inside = (clean > DARK) & (noisy < 1)
    if not inside.any():
        return DARK
    return float(np.sqrt(np.mean((noisy - clean)[inside] ** 2 / (4 * clean[inside]))))


def log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


class WholeImageSamples(Samples):
    """Whole images for `original` and `new`, slightly moved, with mottle of the published dose or a random one."""

    def __init__(self, images: XrayImages, config: TrainConfig) -> None:
        self.images, self.config = images, config

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, step])
        chosen = rng.integers(len(self.images), size=self.config.batch)
        clean = np.stack([random_pose(to_unit(self.images[int(i)]), rng) for i in chosen])[:, None]
        noise = self.config.noise
        white = [
            PUBLISHED_PHOTONS_AT_WHITE
            if rng.random() < noise.published_share
            else log_uniform(noise.lowest_dose, noise.highest_dose, rng)
            for _ in chosen
        ]
        doses = np.asarray(white)[:, None, None, None]
        noisy = torch.from_numpy(quantise(saturating_mottle(clean, doses, rng)))
        level = torch.from_numpy(to_square_root_level(white).astype(np.float32))
        return Batch(noisy, torch.from_numpy(clean), level, level, torch.ones_like(noisy))


def random_pose(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """The patient stands a little elsewhere: small shift, turn, zoom, mirror, and a change of brightness."""
    height, width = image.shape
    turn = np.array(
        cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 2.0), float(np.exp(rng.normal(0, 0.03)))),
        dtype=np.float64,
    )
    turn[:, 2] += rng.normal(0, 0.02, 2) * (width, height)
    posed = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        posed = posed[:, ::-1]
    return np.asarray(posed, dtype=np.float32) ** np.float32(np.exp(0.08 * rng.standard_normal()))
