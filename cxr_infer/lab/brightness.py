"""Calibration: whether a method preserves mean brightness, in dark and bright areas."""

from __future__ import annotations

import numpy as np

from cxr_infer.imaging.pixels import Float64Array
from cxr_infer.lab.conditions import conditions
from cxr_infer.lab.findings import Axis, Estimate, Finding, Series
from cxr_infer.lab.setting import Setting
from cxr_infer.lab.shared_draws import BRIGHTNESS, BRIGHTNESS_BANDS, DrawTable, member
from cxr_infer.lab.statistics import estimates

NAME = BRIGHTNESS
LEAST_SHARE = 0.002  # fraction of the pixels that a band needs
MIDDLES = (
    *((index + 0.5) * 256 / BRIGHTNESS_BANDS for index in range(BRIGHTNESS_BANDS)),
    255.0,
)  # of the bands, gray levels


def findings(setting: Setting, table: DrawTable) -> list[Finding]:
    """Return one finding: the mean error against brightness, for every method and condition."""
    series = []
    for method in setting.methods:
        for condition in conditions(setting.protocol):
            parts = table[method.name, condition]
            errors = np.stack([np.asarray(part[BRIGHTNESS], np.float64) for part in parts])
            series.append(_series(setting, method.name, condition.name, errors))
    return [
        Finding(
            key=f"{NAME}/error",
            study=NAME,
            title="Brightness after denoising",
            x=Axis("brightness of the clean image", "gray levels"),
            y=Axis("mean error", "gray levels"),
            series=tuple(series),
            measured="Mean of denoised minus clean pixels, in bands of the clean image's brightness; the last band is "
            "white.",
            on=f"All pixels of {len(setting.images)} images.",
            caution="Noise is clipped at black and at white, so that noisy pixels there are biased even before "
            "denoising: compare with the noisy image. A mean of 0 may hide errors of both signs.",
            draws=setting.protocol.draws * len(setting.images),
            seed=setting.protocol.seed,
        )
    ]


def _series(setting: Setting, method: str, condition: str, errors: Float64Array) -> Series:
    """errors: (images, draws, bands, 2), sums and counts. Bands with very few pixels are left out."""
    number = errors[..., 1].sum(axis=(0, 1))
    used = np.flatnonzero(number > LEAST_SHARE * number.sum())
    found: tuple[Estimate, ...] = estimates(errors[:, :, used], mean_error, seed=setting.protocol.seed, axes=(0, 1))
    known = [(MIDDLES[band], point) for band, point in zip(used, found, strict=True) if np.isfinite(point.low)]
    fewer = setting.protocol.fewer(method)
    return Series(
        method,
        condition,
        tuple(x for x, _ in known),
        tuple(point for _, point in known),
        fewer and fewer * len(setting.images),
    )


def mean_error(values: Float64Array) -> Float64Array:
    """Convert (images, draws, bands, 2), sums and counts, to mean errors (bands,); NaN for an empty band."""
    total, number = np.moveaxis(values.sum(axis=(0, 1)), -1, 0)
    return np.asarray(np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0))


study = member(NAME, findings)
