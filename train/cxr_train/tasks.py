"""What differs between training `window` and training the whole-image models: samples, loss and validation."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxr_infer.imaging.metrics import SSIM_C1, SSIM_C2, SSIM_RADIUS, SSIM_SIGMA, psnr_of_mse
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.pixels import to_unit
from cxr_train.config import VALIDATION_DOSES, TrainConfig
from cxr_train.data import XrayFiles, XrayImages
from cxr_train.models import WHOLE_IMAGE_SIDE
from cxr_train.noise import PUBLISHED_PHOTONS_AT_WHITE, quantise, saturating_mottle
from cxr_train.quantise import calibrate, quantised
from cxr_train.samples import ERROR_EXPONENT, Batch, Samples, WholeImageSamples, WindowSamples
from cxr_train.warm_start import warm_start

CHECKED_IMAGES = 2000  # training images that are read before the first step; of more, evenly spaced ones

Seen = Callable[[float], None]  # told which share of a validation is done


class Task(ABC):
    """Samples, loss and validation of one kind of model. `score` of a validation is better when smaller."""

    def __init__(self, files: XrayFiles, config: TrainConfig) -> None:
        self.config = config
        self.train_images = XrayImages(files.require("train"), config.size)
        self.train_images.check(CHECKED_IMAGES)
        validation = XrayImages(files.require("val"), WHOLE_IMAGE_SIDE)
        count = min(config.validate_images, len(validation))
        # evenly spaced, because files sorted by name begin with a few patients of many images
        self.validation = [to_unit(validation[i * len(validation) // count]) for i in range(count)]
        self.samples = self._samples()

    @abstractmethod
    def _samples(self) -> Samples: ...

    def prepare(self, model: nn.Module) -> None:  # noqa: B027  most models start as they are
        """Give a fresh model its start, before its first step."""

    def calibrate(self, model: nn.Module) -> None:  # noqa: B027  most models have no 8-bit grids
        """Set what 8-bit grids of the model are not set yet, before its first step."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor: ...

    @abstractmethod
    def validate(self, model: nn.Module, device: torch.device, seen: Seen = lambda share: None) -> dict[str, float]:
        """Figures of the averaged weights. seen: called between images, with the share that is done."""


def noisy_validation(clean: np.ndarray, white: float, index: int) -> np.ndarray:
    """Fixed mottle for a validation image: the same at every validation of every run."""
    rng = np.random.default_rng(zlib.crc32(f"{index}/{white}".encode()))
    return quantise(saturating_mottle(clean, white, rng))


CONTRAST = 2.0  # see `contrast_lost`
SSIM_STRIDE = 4  # px between the windows of SSIM: neighbouring ones overlap enough, and the loss costs a tenth
LEAST_INSERT = 0.05  # energy over the crop; weaker ones, such as those clipped away on white, must not outweigh others


def expected_error(level: Tensor) -> Tensor:
    """Root mean square error in [0, 1] that a trained `window` leaves at a noise level, measured on validation images.

    0.020 at 20 photons, 0.014 at 71, 0.010 at 200, 0.0076 at 600.
    """
    return 0.09 * (level + 0.01) ** ERROR_EXPONENT


def contrast_lost(denoised: Tensor, clean: Tensor) -> Tensor:
    """How far the difference within pairs (with, without inserts; 2 P, 1, S, S) is from the inserts, by energy.

    0 where an insert comes through as it is, 1 + CONTRAST where it vanishes: CONTRAST weighs the share of contrast
    lost beside the change of shape. The noise is equal within a pair, so that it cancels.
    """
    response, insert = denoised[0::2] - denoised[1::2], clean[0::2] - clean[1::2]
    energy = (insert**2).sum(dim=(1, 2, 3)).clamp(min=LEAST_INSERT)
    error = response - insert
    changed = (error**2).sum(dim=(1, 2, 3)) / energy
    lost = (error * insert).sum(dim=(1, 2, 3)) / energy
    return (changed + CONTRAST * lost**2).mean()


def dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """1 - mean SSIM of images (N, 1, H, W) in [0, 1]: `imaging.metrics.ssim` at every SSIM_STRIDE-th pixel."""
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


class WindowTask(Task):
    """Charbonnier loss in units of the error to be expected, so that every dose counts alike.

    It is quadratic up to three times that error and linear beyond. An absolute error (a median) would give up a faint
    line that is more likely absent than present; the quadratic (a mean) keeps it in proportion. Beside it 1 - SSIM,
    which counts what is wrong in faint texture.
    Validated by PSNR at several doses with the estimated level.
    """

    BEND = 3.0

    def _samples(self) -> WindowSamples:
        return WindowSamples(self.train_images, self.config)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        clean = batch.clean
        expected = expected_error(batch.error_level)[:, None, None, None]
        with quantised(model, on=batch.quantised):
            denoised = model(batch.noisy, batch.level)
        error = (denoised - clean) / expected
        loss = (batch.weight * self.BEND * (torch.sqrt(error * error + self.BEND**2) - self.BEND)).mean()
        if batch.pairs:
            pairs = slice(-2 * batch.pairs, None)
            loss = loss + self.config.pair_weight * contrast_lost(denoised[pairs], clean[pairs])
        if batch.taught is not None:
            apart = (denoised.clamp(0, 1) - batch.taught) / expected
            loss = loss + self.config.teacher_weight * (apart * apart).mean()
        if self.config.ssim_weight:
            loss = loss + self.config.ssim_weight * dissimilarity(denoised, clean)
        return loss

    def validate(self, model: nn.Module, device: torch.device, seen: Seen = lambda share: None) -> dict[str, float]:
        metrics: dict[str, float] = {}
        doses = (*VALIDATION_DOSES, 0.0)
        for number, white in enumerate(doses):
            name = f"psnr_q{white:.0f}" if white else "psnr_clean"
            errors: dict[str, list[float]] = {name: [], f"{name}_int8": []}
            for index, clean in enumerate(self.validation):
                noisy = noisy_validation(clean, white, index) if white else clean
                level = torch.tensor([estimate_mottle(noisy).level], dtype=torch.float32, device=device)
                for key, on in zip(errors, (False, True), strict=True):
                    with torch.no_grad(), quantised(model, on=on):
                        denoised = model(torch.from_numpy(noisy)[None, None].to(device), level)[0, 0].cpu().numpy()
                    errors[key].append(psnr_of_mse(float(np.mean((denoised - clean) ** 2, dtype=np.float64))))
                seen((number + (index + 1) / len(self.validation)) / len(doses))
            metrics |= {key: float(np.mean(values)) for key, values in errors.items()}
        scored = [f"psnr_q{white:.0f}{suffix}" for white in VALIDATION_DOSES for suffix in ("", "_int8")]
        metrics["score"] = -float(np.mean([metrics[key] for key in scored]))
        return metrics

    def calibrate(self, model: nn.Module) -> None:
        batch = self.samples.batch(0).to(next(model.parameters()).device)
        calibrate(model, batch.noisy, batch.level)


class WholeImageTask(Task):
    """Mean squared error, as published; validated at the published dose, saturating."""

    CHUNK = 8  # images a forward pass

    def _samples(self) -> WholeImageSamples:
        return WholeImageSamples(self.train_images, self.config)

    def prepare(self, model: nn.Module) -> None:
        if self.config.warm_start_draws:
            warm_start(model.get_submodule("encoder"), model.get_submodule("decoder"), self._samples())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return F.mse_loss(model(batch.noisy).float(), batch.clean)

    def validate(self, model: nn.Module, device: torch.device, seen: Seen = lambda share: None) -> dict[str, float]:
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
    return (WindowTask if config.model == "window" else WholeImageTask)(files, config)
