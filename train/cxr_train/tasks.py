"""The tasks `window` and whole image: their samples, loss and validation."""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxr_infer.imaging.metrics import SSIM_C1, SSIM_C2, SSIM_RADIUS, SSIM_SIGMA, psnr_of_mse
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.pixels import FloatImage, to_unit
from cxr_train.config import VALIDATION_DOSES, TrainConfig
from cxr_train.data import XrayFiles, XrayImages
from cxr_train.detector_noise import SHAPE_SCALES, Recipe
from cxr_train.models import WHOLE_IMAGE_SIDE
from cxr_train.noise import PUBLISHED_PHOTONS_AT_WHITE, round_to_steps, saturating_mottle
from cxr_train.noise_maps import maps_of
from cxr_train.quantise import calibrate, quantised
from cxr_train.samples import Batch, SampleSource, WholeImageSamples, WindowSamples
from cxr_train.specs import SPECS
from cxr_train.warm_start import warm_start

CHECKED_IMAGES = 2000  # training images read before the first step, evenly spaced

ProgressCallback = Callable[[float], None]  # called with the fraction of a validation that is done


class Task(ABC):
    """Samples, loss and validation of one kind of model. The validation's `score` is better when smaller."""

    def __init__(self, files: XrayFiles, config: TrainConfig) -> None:
        self.config = config
        self.train_images = XrayImages(files.require("train"), config.size)
        self.train_images.check(CHECKED_IMAGES)
        validation = XrayImages(files.require("val"), WHOLE_IMAGE_SIDE)
        count = min(config.validate_images, len(validation))
        # evenly spaced, because files sorted by name begin with a few patients with many images
        self.validation = [to_unit(validation[i * len(validation) // count]) for i in range(count)]
        self.samples = self._samples()

    @abstractmethod
    def _samples(self) -> SampleSource: ...

    def prepare(self, model: nn.Module) -> None:  # noqa: B027  most models start as they are
        """Initialise a fresh model before its first step."""

    def calibrate(self, model: nn.Module) -> None:  # noqa: B027  most models have no 8-bit grids
        """Set missing steps of the model's 8-bit grids before its first step."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor: ...

    @abstractmethod
    def validate(
        self, model: nn.Module, device: torch.device, seen: ProgressCallback = lambda share: None
    ) -> dict[str, float]:
        """Return the figures of the averaged weights. seen: called between images with the fraction done."""


def noisy_validation(clean: np.ndarray, white: float, index: int) -> np.ndarray:
    """Add fixed mottle to a validation image: the same in every validation of every run."""
    rng = np.random.default_rng(zlib.crc32(f"{index}/{white}".encode()))
    return round_to_steps(saturating_mottle(clean, white, rng))


def validation_pair(image: FloatImage, name: str, index: int) -> tuple[FloatImage, FloatImage]:
    """Return noisy and clean for one of SCORED or CLEAN, the same in every validation. image: (S, S) float32 in [0,
    1].
    """
    if name == CLEAN:
        return image, image
    if name == DETECTOR:
        recipe = Recipe.draw(len(image), np.random.default_rng([index, len(image)]))
        exposed = replace(recipe, sd=DETECTOR_SD).expose(image)
        return exposed.noisy, exposed.clean
    return noisy_validation(image, SCORED[name], index), image


CLEAN, DETECTOR = "psnr_clean", "psnr_detector"  # validation without noise, and with random detector noise
DETECTOR_SD = 8 / 255  # [0, 1], root mean square
SCORED = {f"psnr_q{white:.0f}": white for white in VALIDATION_DOSES} | {DETECTOR: 0.0}  # photons at white
CONTRAST = 2.0  # see `contrast_lost`
SSIM_STRIDE = 4  # px between SSIM windows: they overlap enough, and the loss costs a tenth
ERROR_EXPONENT = 0.7  # exponent of the error of plain mottle against the level, measured
SHAPELESS = 0.004  # square-root domain; level at which the shape counts half
LINE = 8 / 255  # [0, 1], contrast of a line
LINE_LEVEL = 0.022  # square-root domain; mottle of some 8 gray levels
MADE_UP, MOST_MADE_UP = (
    2.5,
    4.0,
)  # weight of a false line relative to a lost one, at correlation CORRELATED and twice that
CORRELATED = 0.4  # shape over 4x4 px of noise that creates lines; white noise has 0
WHITE_LINES = 0.3  # relative weight of lines under white noise, which seldom creates any
LINE_ANGLES, LINE_LENGTH, LINE_STRIDE = 12, 20, 2  # over 180 degrees; px; px between positions
LEAST_INSERT = 0.05  # energy over the crop; keeps weak inserts, such as those clipped on white, from dominating


def expected_error(level: Tensor, shape: Tensor) -> Tensor:
    """Return the root mean square error in [0, 1] left by a trained `window`, (N, 1, 1, 1).

    level: (N, h, w), shape: (N, SHAPES), of `Batch`. Measured for white noise on validation images: 0.020 at 20
    photons, 0.014 at 71, 0.010 at 200, 0.0076 at 600. Correlated noise leaves about as much as white noise with equally
    strong means over 4x4 px.
    """
    coarse = shape[:, SHAPE_SCALES.index(4)].clamp(min=-0.5)
    as_white = torch.sqrt((level * level).mean(dim=(1, 2))) * torch.exp(coarse)
    return (0.09 * (as_white + 0.004) ** ERROR_EXPONENT)[:, None, None, None]


def map_error(maps: Tensor, level: Tensor, shape: Tensor) -> Tensor:
    """Return the error of maps (N, MAPS, h, w); the shape is weighted by the strength of the noise."""
    apart = F.smooth_l1_loss(maps, maps_of(level, shape), beta=0.1, reduction="none")
    noise = (level / (level + SHAPELESS))[:, None]
    return apart[:, :1].mean() + (noise * apart[:, 1:]).mean()


def contrast_lost(denoised: Tensor, clean: Tensor) -> Tensor:
    """Compare the difference within pairs (with, without inserts; 2 P, 1, S, S) with the inserts, by energy.

    0 if an insert is unchanged, 1 + CONTRAST if it vanishes: CONTRAST weights lost contrast against changes of shape.
    The noise is identical within a pair, so that it cancels.
    """
    response, insert = denoised[0::2] - denoised[1::2], clean[0::2] - clean[1::2]
    energy = (insert**2).sum(dim=(1, 2, 3)).clamp(min=LEAST_INSERT)
    error = response - insert
    changed = (error**2).sum(dim=(1, 2, 3)) / energy
    lost = (error * insert).sum(dim=(1, 2, 3)) / energy
    return (changed + CONTRAST * lost**2).mean()


def dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 - mean SSIM of images (N, 1, H, W) in [0, 1]: `imaging.metrics.ssim` at every SSIM_STRIDE-th pixel."""
    x = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=a.dtype, device=a.device)
    taps = torch.exp(-0.5 * (x / SSIM_SIGMA) ** 2)
    taps = taps / taps.sum()
    maps = torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 1)
    window = taps[:, None] * taps
    blurred = F.conv2d(maps, window[None, None], stride=SSIM_STRIDE)
    mean_a, mean_b, square_a, square_b, product = blurred.unflatten(0, (5, -1))
    covariance = product - mean_a * mean_b
    variances = square_a - mean_a**2 + square_b - mean_b**2
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    return 1 - (luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2)).mean()


def _line_kernels() -> Tensor:
    """Return matched filters of short straight lines, (LINE_ANGLES, 1, 21, 21): 1 px wide (Gaussian), LINE_LENGTH px
    long.

    Each gives the contrast of a line against the area 3 to 6 px beside it; 0 for a constant or a gradient.
    """
    y, x = torch.meshgrid(torch.arange(-10.0, 11.0), torch.arange(-10.0, 11.0), indexing="ij")
    kernels = []
    for index in range(LINE_ANGLES):
        angle = math.pi * index / LINE_ANGLES
        across = (x * math.sin(angle) - y * math.cos(angle)).abs()
        inside = (LINE_LENGTH / 2 + 0.5 - (x * math.cos(angle) + y * math.sin(angle)).abs()).clamp(0, 1)
        profile = torch.exp(-(across**2) / 2)
        on, off = inside * profile * (across < 3), inside * ((across >= 3) & (across <= 6))
        kernel = on / on.sum() - off / off.sum()
        kernels.append(kernel / (kernel * profile).sum())
    return torch.stack(kernels)[:, None]


def lines_wrong(denoised: Tensor, clean: Tensor, level: Tensor, shape: Tensor) -> Tensor:
    """Penalise lost and false lines between images (N, 1, S, S), by the square of their contrast beyond a quarter of
    LINE.

    level: (N, h, w), shape: (N, SHAPES), of `Batch`. Under noise stronger than LINE_LEVEL the contrast of a line grows
    in proportion. Relative to a weakened line, a strengthened one counts MADE_UP times under correlated noise,
    MOST_MADE_UP times under noise twice as correlated, and once under white noise, where both are weighted by
    WHITE_LINES.
    """
    kernels = _line_kernels().to(clean.device)
    found, true = (F.conv2d(image, kernels, stride=LINE_STRIDE) for image in (denoised, clean))
    strength = torch.sqrt((level * level).mean(dim=(1, 2)))[:, None, None, None] / LINE_LEVEL
    beyond = F.relu((found - true).abs() / (LINE * strength.clamp(min=1)) - 0.25)
    coarse = shape[:, SHAPE_SCALES.index(4)][:, None, None, None] / CORRELATED
    correlated = coarse.clamp(0, 1)
    made_up = 1 + (MADE_UP - 1) * correlated + (MOST_MADE_UP - MADE_UP) * (coarse - 1).clamp(0, 1)
    weight = torch.where(found.abs() > true.abs(), made_up, 1.0)
    return ((WHITE_LINES + (1 - WHITE_LINES) * correlated) * weight * beyond * beyond).mean()


class WindowTask(Task):
    """Charbonnier loss in units of the expected error, so that all doses count equally.

    It is quadratic up to three times that error and linear beyond. An absolute error (a median) would drop a faint line
    that is more likely absent than present; a quadratic one (a mean) keeps it in proportion. 1 - SSIM is added, which
    penalises errors in faint texture. Validated by PSNR at several doses and with random detector noise.
    """

    BEND = 3.0

    def _samples(self) -> WindowSamples:
        return WindowSamples(self.train_images, self.config)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        clean = batch.clean
        assert batch.level is not None
        assert batch.shape is not None
        expected = expected_error(batch.level, batch.shape)
        with quantised(model, on=batch.quantised):
            denoised, maps = model(batch.noisy, batch.told)
        error = (denoised - clean) / expected
        loss = (batch.weight * self.BEND * (torch.sqrt(error * error + self.BEND**2) - self.BEND)).mean()
        if batch.pairs:
            pairs = slice(-2 * batch.pairs, None)
            loss = loss + self.config.pair_weight * contrast_lost(denoised[pairs], clean[pairs])
        if self.config.line_weight:
            loss = loss + self.config.line_weight * lines_wrong(denoised, clean, batch.level, batch.shape)
        if batch.taught is not None:
            apart = (denoised.clamp(0, 1) - batch.taught) / expected
            loss = loss + self.config.teacher_weight * (apart * apart).mean()
        loss = loss + self.config.map_weight * map_error(maps, batch.level, batch.shape)
        if self.config.ssim_weight:
            loss = loss + self.config.ssim_weight * dissimilarity(denoised, clean)
        return loss

    def validate(
        self, model: nn.Module, device: torch.device, seen: ProgressCallback = lambda share: None
    ) -> dict[str, float]:
        metrics: dict[str, float] = {}
        names = (*SCORED, CLEAN)
        for number, name in enumerate(names):
            errors: dict[str, list[float]] = {name: [], f"{name}_int8": []}
            for index, image in enumerate(self.validation):
                noisy, clean = validation_pair(image, name, index)
                level = torch.tensor([estimate_mottle(noisy).level], dtype=torch.float32, device=device)
                for key, on in zip(errors, (False, True), strict=True):
                    with torch.no_grad(), quantised(model, on=on):
                        denoised = model(torch.from_numpy(noisy)[None, None].to(device), level)[0, 0].cpu().numpy()
                    errors[key].append(psnr_of_mse(float(np.mean((denoised - clean) ** 2, dtype=np.float64))))
                seen((number + (index + 1) / len(self.validation)) / len(names))
            metrics |= {key: float(np.mean(values)) for key, values in errors.items()}
        metrics["score"] = -float(np.mean([metrics[f"{name}{suffix}"] for name in SCORED for suffix in ("", "_int8")]))
        return metrics

    def calibrate(self, model: nn.Module) -> None:
        batch = self.samples.batch(0).to(next(model.parameters()).device)
        assert batch.told is not None
        calibrate(model, batch.noisy, batch.told)


class WholeImageTask(Task):
    """Mean squared error, as published; validated at the published dose, saturating."""

    CHUNK = 8  # images per forward pass

    def _samples(self) -> WholeImageSamples:
        return WholeImageSamples(self.train_images, self.config)

    def prepare(self, model: nn.Module) -> None:
        if self.config.warm_start_draws:
            warm_start(model.get_submodule("encoder"), model.get_submodule("decoder"), self._samples())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return F.mse_loss(model(batch.noisy).float(), batch.clean)

    def validate(
        self, model: nn.Module, device: torch.device, seen: ProgressCallback = lambda share: None
    ) -> dict[str, float]:
        clean = np.stack(self.validation)[:, None]
        noisy = np.stack([noisy_validation(c[0], PUBLISHED_PHOTONS_AT_WHITE, i) for i, c in enumerate(clean)])[:, None]
        errors: list[float] = []
        for start in range(0, len(clean), self.CHUNK):
            part = slice(start, start + self.CHUNK)
            with torch.no_grad():
                denoised = model(torch.from_numpy(noisy[part]).to(device)).cpu().numpy()
            squared = (denoised - clean[part]) ** 2
            errors.extend(float(image.mean(dtype=np.float64)) for image in squared)
            seen(len(errors) / len(clean))
        mse = float(np.mean(errors))
        return {"mse_published": mse, "psnr_published": psnr_of_mse(mse), "score": mse}


def make_task(files: XrayFiles, config: TrainConfig) -> Task:
    return (WindowTask if SPECS[config.model].in_windows else WholeImageTask)(files, config)
