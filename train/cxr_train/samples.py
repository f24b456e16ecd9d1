"""Draw the samples of a training step. Batch `step` depends only on (seed, step), so that a resumed run is
identical.
"""

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

from cxr_infer.errors import ModelError, UsageError
from cxr_infer.imaging.mottle import MAX_LEVEL, recipe_level, to_square_root_level
from cxr_infer.imaging.pixels import FloatImage, to_unit
from cxr_infer.model.card import DENOISED, NOISE_LEVEL, NOISY
from cxr_infer.model.session import card_of, open_session, read_model
from cxr_train.config import NoiseConfig, TrainConfig
from cxr_train.data import XrayImages
from cxr_train.detector_noise import CELL, SHAPES, Exposed, Recipe, cells, level_of, shape_of
from cxr_train.inserts import FAINT, draw_insert
from cxr_train.models import WindowDenoisingAutoencoder
from cxr_train.noise import PUBLISHED_PHOTONS_AT_WHITE, Detector, round_to_steps, saturating_mottle
from cxr_train.patterns import draw_pattern, draw_processed

# noisy, clean and weight, (S, S) each; level, shape and told level of the noise, see Batch
Crop = tuple[FloatImage, FloatImage, FloatImage, FloatImage, FloatImage, float]

PAIR_DOSES = (40.0, 1200.0)  # photons at white; below, a faint line can no longer be recovered
MOST_PAIR_SD = 14 / 255  # root mean square of other noise, for the same reason
MOST_LOGARITHMIC_SD = 0.3  # [0, 1], maximum where hardly any photons remain
WHITE = np.zeros(SHAPES, np.float32)  # the shape of white noise
FAINT_BEHIND_PATTERNS, FAINT_SD = 0.6, 2.5  # fraction of pattern crops with faint noise; its sd in gray levels
TRULY_TOLD, LEAST_TOLD = 0.4, 0.003  # fraction of crops; minimum level of X-rays themselves, square-root domain
UNROUNDED_SHARE = 0.3  # fraction of crops kept at float precision, as in 16-bit files
SATURATED_SHARE = 0.2  # fraction of crops brightened, so that parts saturate
SCALES = (0.45, 1.0)  # scales of reduced crops
FAINT_SCALES, FAINT_SDS = (0.28, 0.52), (0.6, 3.0)  # scales and noise sd (gray levels) of crops with faint noise
FAINT_WHITE_SHARE = 0.5  # fraction of those with white noise
LOOKED_AT = 12  # images to search for a large one
FULL_SIZE = 768  # px; images at least this large are reduced more often


@dataclass(frozen=True)
class Batch:
    """The input of a training step. noisy, clean: (N, 1, S, S) float32 in [0, 1]. weight: (N, 1, S, S)."""

    noisy: Tensor
    clean: Tensor
    weight: Tensor
    told: Tensor | None = None  # (N,), noise level of the whole image as told to the network, with an error
    level: Tensor | None = None  # (N, S / 8, S / 8), local noise level, see `detector_noise.Exposed`
    shape: Tensor | None = None  # (N, SHAPES), see `detector_noise.Exposed`
    quantised: bool = False  # whether the step computes on 8-bit grids
    pairs: int = 0  # the last 2 * pairs crops are pairs: with faint inserts, then without, in equal noise
    taught: Tensor | None = None  # the teacher's results for the noisy crops, if there is one

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, from which a GPU copies asynchronously."""
        return self._changed(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> Batch:
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changes: dict[str, Any] = {n: change(value) for n, value in self.__dict__.items() if isinstance(value, Tensor)}
        return replace(self, **changes)


class SampleSource(Protocol):
    """Batches by number of the training step."""

    def batch(self, step: int) -> Batch: ...


class WindowSamples(SampleSource):
    """Crops of X-rays at random scale and orientation, with inserts and patterns, noise and the truth about it."""

    def __init__(self, images: XrayImages, config: TrainConfig) -> None:
        self.images, self.config = images, config
        self._own_levels: dict[int, float] = {}
        self._teacher: Any = None  # opened in the drawing process, because a session cannot be pickled
        if config.crop % CELL:
            raise UsageError(f"--crop {config.crop} px is invalid; use a multiple of {CELL}")
        if config.teacher is not None:
            path = Path(config.teacher)
            if not card_of(_open_teacher(path), path).told_noise_level:
                raise ModelError(f"{path}: does not take the noise level; give --teacher a `window` model")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_teacher": None}

    def own_level(self, index: int) -> float:
        """Return the level of the mottle in a released image itself, which the estimate at inference sees too."""
        if index not in self._own_levels:
            self._own_levels[index] = recipe_level(to_unit(self.images[index]))
        return self._own_levels[index]

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, step])
        pairs = min(self.config.pairs, (self.config.batch - 1) // 2)
        parts = [self._one(rng) for _ in range(self.config.batch - 2 * pairs)]
        for _ in range(pairs):
            parts.extend(self._pair(rng))
        columns = zip(*parts, strict=True)
        noisy, clean, weight, level, shape, told = (torch.from_numpy(np.asarray(c, dtype=np.float32)) for c in columns)
        quantised = bool(rng.random() < self.config.quantised_share)
        taught = None if self.config.teacher is None else self._taught(Path(self.config.teacher), noisy[:, None], told)
        return Batch(noisy[:, None], clean[:, None], weight[:, None], told, level, shape, quantised, pairs, taught)

    def _taught(self, teacher: Path, noisy: Tensor, told: Tensor) -> Tensor:
        """Return the teacher's results for crops (N, 1, S, S) with told levels (N,). Raises ModelError."""
        if self._teacher is None:
            self._teacher = _open_teacher(teacher)
        side = -self.config.crop % WindowDenoisingAutoencoder.STRIDE
        padded = F.pad(noisy, (0, side, 0, side), mode="replicate")
        (taught,) = self._teacher.run([DENOISED], {NOISY: padded.numpy(), NOISE_LEVEL: told.numpy()})
        return torch.from_numpy(taught[..., : self.config.crop, : self.config.crop])

    def _pair(self, rng: np.random.Generator) -> list[Crop]:
        """Return a crop with faint inserts and the same crop without, in identical noise."""
        index = int(rng.integers(len(self.images)))
        without = random_crop(self.images[index], self.config.crop, rng)
        marked = without
        for _ in range(rng.integers(1, self.config.most_inserts + 1)):
            marked, _mask = draw_insert(marked, rng, FAINT)
        if rng.random() < self.config.noise.poisson_share:
            white = log_uniform(*PAIR_DOSES, rng)
            noise = saturating_mottle(without, white, rng) - without
            level = poisson_level(without, white)
            pair = [Exposed(round_to_steps(clean + noise), clean, level, WHITE) for clean in (marked, without)]
            told = self._told_of_photons(index, white, rng)
        else:
            recipe = Recipe.draw(self.config.crop, rng)
            # without gamma, which would make the noise depend on brightness
            recipe = replace(recipe, sd=min(recipe.sd, MOST_PAIR_SD), gamma=1.0)
            pair = [recipe.expose(clean, without) for clean in (marked, without)]
            told = self._told_of_detector(pair[1], rng)
        ones = np.ones_like(without)
        return [(e.noisy, e.clean, ones, e.level, e.shape, told) for e in pair]

    def _one(self, rng: np.random.Generator) -> Crop:
        if rng.random() < self.config.noise.faint_share:
            return self._faint(rng)
        index = int(rng.integers(len(self.images)))
        clean = random_crop(self.images[index], self.config.crop, rng)
        mask = np.zeros_like(clean)
        noise = self.config.noise
        if rng.random() < self.config.pattern_share:
            clean = draw_pattern(clean, rng)
            if rng.random() < FAINT_BEHIND_PATTERNS:
                noise = replace(noise, clean_share=0.3, poisson_share=0, most_sd=FAINT_SD)
        elif rng.random() < self.config.insert_share:
            for _ in range(rng.integers(1, self.config.most_inserts + 1)):
                clean, drawn = draw_insert(clean, rng)
                mask = np.maximum(mask, drawn)
        exposed, white = add_noise(clean, noise, rng)
        told = self._told_of_detector(exposed, rng) if white is None else self._told_of_photons(index, white, rng)
        weight = 1 + self.config.insert_weight * mask
        return exposed.noisy, exposed.clean, weight.astype(np.float32), exposed.level, exposed.shape, told

    def _faint(self, rng: np.random.Generator) -> Crop:
        """Return a crop with faint noise, from a large image at half size, which has little noise of its own."""
        indices = rng.integers(len(self.images), size=LOOKED_AT)
        large = (int(i) for i in indices if min(self.images[int(i)].shape) >= FULL_SIZE)
        clean = random_crop(self.images[next(large, int(indices[0]))], self.config.crop, rng, FAINT_SCALES)
        recipe = Recipe.draw(self.config.crop, rng)
        if rng.random() < FAINT_WHITE_SHARE:
            field = rng.standard_normal(clean.shape, dtype=np.float32)
            curve = recipe.curve if rng.random() < 0.5 else np.ones_like(recipe.curve)
            recipe = Recipe(recipe.sd, curve, field)
        exposed = replace(recipe, sd=log_uniform(*FAINT_SDS, rng) / 255).expose(clean)
        told = self._told_of_detector(exposed, rng)
        return exposed.noisy, exposed.clean, np.ones_like(clean), exposed.level, exposed.shape, told

    def _told_of_photons(self, index: int, white: float, rng: np.random.Generator) -> float:
        """Return the told level for mottle of `white` photons, with the error of a whole-image estimate."""
        level = np.hypot(to_square_root_level(white), self.own_level(index))
        return float(level * np.exp(self.config.noise.level_jitter * rng.standard_normal()))

    def _told_of_detector(self, exposed: Exposed, rng: np.random.Generator) -> float:
        """Return the told level for other noise: by the cards' recipe, which includes structure, or sometimes the
        truth.

        Its error is larger than for photons, since the level varies over the image that the crop belongs to.
        """
        told = recipe_level(exposed.noisy)
        if rng.random() < TRULY_TOLD:
            told = min(told, float(np.hypot(np.sqrt(np.mean(exposed.level**2)), LEAST_TOLD)))
        return float(min(told * np.exp(self.config.noise.detector_level_jitter * rng.standard_normal()), MAX_LEVEL))


def _open_teacher(path: Path) -> Any:
    return open_session(read_model(path), path, threads=1)


def random_crop(
    image: NDArray[np.uint8], side: int, rng: np.random.Generator, scales: tuple[float, float] = SCALES
) -> FloatImage:
    """Return a square of an image, often reduced, flipped, rotated and with a random gamma."""
    shrunk = scales != SCALES or rng.random() < (0.75 if min(image.shape) >= FULL_SIZE else 0.3)
    scale = rng.uniform(*scales) if shrunk else 1.0
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


def add_noise(clean: FloatImage, config: NoiseConfig, rng: np.random.Generator) -> tuple[Exposed, float | None]:
    """Add noise of random kind and strength to a crop (S, S) float32 in [0, 1], rounded as in 8-bit files or not.

    Also returns the photons at white, or None for other noise or none. Without noise, the crop may be one that was
    already processed and must stay unchanged.
    """
    kind = rng.random()
    if kind < config.clean_share:
        if rng.random() < config.processed_share:
            clean = draw_processed(clean, rng)
        return Exposed(clean, clean, np.zeros([side // CELL for side in clean.shape], np.float32), WHITE), None
    white = None
    if kind < config.clean_share + config.poisson_share:
        white = log_uniform(config.lowest_dose, config.highest_dose, rng)
        exposed = Exposed(saturating_mottle(clean, white, rng), clean, poisson_level(clean, white), WHITE)
    elif kind < config.clean_share + config.poisson_share + config.logarithmic_share:
        exposed = behind_logarithm(clean, Detector.draw(rng), rng)
    else:
        exposed = Recipe.draw(clean.shape[0], rng, config.most_sd).expose(clean)
    unrounded = rng.random() < UNROUNDED_SHARE
    return exposed if unrounded else replace(exposed, noisy=round_to_steps(exposed.noisy)), white


def behind_logarithm(clean: FloatImage, detector: Detector, rng: np.random.Generator) -> Exposed:
    """Expose a crop (S, S) with a detector and logarithmic display; with few photons its noise is skewed."""
    noisy, sd = detector.expose(clean, rng), np.minimum(detector.sd(clean), np.float32(MOST_LOGARITHMIC_SD))
    return Exposed(noisy, clean, cells(level_of(clean, sd)), shape_of(np.asarray((noisy - clean) / sd, np.float32)))


def poisson_level(clean: FloatImage, white: float) -> FloatImage:
    """Return the level of Poisson mottle in cells, see `Exposed`. clean: (H, W). white: photons at pixel value 1."""
    return cells(level_of(clean, np.sqrt(clean / np.float32(white))))


def log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


class WholeImageSamples(SampleSource):
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
        noisy = torch.from_numpy(round_to_steps(saturating_mottle(clean, doses, rng)))
        return Batch(noisy, torch.from_numpy(clean), torch.ones_like(noisy))


def random_pose(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Vary the patient's position: small shift, rotation, zoom, mirror, and a change of brightness."""
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
