"""Estimate the noise of one image from the image alone: strength against brightness, spectral shape, uncertainty.

The estimate is made at full size and, while the noise is too wide for the blocks' high-pass, in the image reduced 2 and
4 times: at full size, noise of an enlarged image cannot be told from anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_infer.imaging.noise_blocks import FINE, TAP_SPACING, Blocks, measure_blocks, stored_step
from cxr_infer.imaging.noise_curve import Curve, fit_curve, flattest_blocks
from cxr_infer.imaging.noise_shape import WHITE_NOISE, Shape
from cxr_infer.imaging.noise_spectrum import LEAST_SEEN, SIDE, Spectrum, fit_spectrum
from cxr_infer.imaging.pixels import Float64Array, FloatImage, Pixels

SCALES = (1, 2, 4)
LEAST_TILES_A_SIDE = 2  # smallest reduced image, in tiles
LEAST_SEEN_COARSE = (
    0.4  # fraction of the variance that the high-pass with wide taps must see, because it also sees anatomy
)
SURE = 0.25  # largest relative error of an estimate that supports a decision
STILL_WIDE = 1.2  # px; skip scales at which noise would still be wider
WIDE = 1.3  # px; part of noise that is wider at the last scale is mistaken for anatomy


@dataclass(frozen=True)
class Noise:
    """The noise of one image. Arrays hold one value per knot of the curve, from dark to bright.

    brightness: [0, 1]. variance: over all frequencies, [0, 1] units squared. share: fraction of the image's blocks
    around the knot. shape: of the power spectrum, px of the original image. correlation: of neighbours across and down.
    sharpened: whether low frequencies are weaker than middle ones. relative_error: of the standard deviation, 0 to 1.
    with_anatomy: mean variance seen by the high-pass with wide taps, some anatomy included.
    """

    brightness: Float64Array
    variance: Float64Array
    share: Float64Array
    shape: Shape
    correlation: tuple[float, float]
    sharpened: bool
    relative_error: float
    with_anatomy: float


@dataclass(frozen=True)
class _Seen:
    """Measurements at one scale.

    curve: of the high-pass in use, which saw the fraction `gain` of the noise variance; enough: whether that suffices.
    fine, fine_gain: the same for the high-pass with narrow taps. apart: log variance by which the two high-passes
    disagree after correction by their gains; anatomy makes the wide taps see more. with_anatomy: see `Noise`.
    """

    scale: int
    spectrum: Spectrum
    curve: Curve
    gain: float
    enough: bool
    fine: Curve
    fine_gain: float
    apart: float
    with_anatomy: float


def estimate_noise(image: FloatImage | Pixels, blocks: Blocks) -> Noise | None:
    """Estimate the noise of one image; None if no block is usable.

    image: (H, W) float32 in [0, 1], or stored uint8 or uint16 pixels. blocks: of the image at full size.
    """
    rounding = stored_step(image) ** 2 / 12
    first = seen = _see(image, blocks, rounding)
    for scale in SCALES[1:]:
        if seen is None or seen.enough or min(image.shape) < LEAST_TILES_A_SIDE * SIDE * scale:
            break
        if seen.spectrum.shape.widest * seen.scale > STILL_WIDE * scale and scale < SCALES[-1]:
            continue
        seen = _see(image, measure_blocks(image, scale), rounding / scale**2) or seen
    if first is None or seen is None:
        return None
    error = _relative_error(seen, rounding)
    if error > SURE:  # then correct little for what the high-pass misses
        shape, curve, share = first.spectrum.shape, first.fine, max(first.fine_gain, LEAST_SEEN)
    else:
        shape, kept = seen.spectrum.shape.at_full_size(seen.scale)
        curve, share = seen.curve, seen.gain * kept
    return Noise(
        curve.brightness,
        curve.variance / share,
        curve.share,
        shape,
        seen.spectrum.correlation() if seen.scale == 1 else shape.correlation(),
        seen.scale == 1 and seen.spectrum.sharpened,
        error,
        first.with_anatomy,
    )


def _see(image: FloatImage | Pixels, blocks: Blocks, rounding: float) -> _Seen | None:
    flattest = flattest_blocks(blocks, rounding)
    if flattest is None:
        return None
    provisional = fit_curve(flattest, blocks.fine, WHITE_NOISE.energy_shape(FINE), rounding)
    spectrum = fit_spectrum(image, blocks, provisional, rounding)
    fine, coarse = (
        fit_curve(flattest, energy, spectrum.shape.energy_shape(spacing), rounding)
        for energy, spacing in ((blocks.fine, FINE), (blocks.coarse, TAP_SPACING))
    )
    fine_gain, coarse_gain = (spectrum.high_pass_gain(spacing) for spacing in (FINE, TAP_SPACING))
    apart = float(np.log(coarse.mean_variance / coarse_gain) - np.log(fine.mean_variance / fine_gain))
    use_fine = fine_gain >= LEAST_SEEN
    return _Seen(
        blocks.scale,
        spectrum,
        curve=fine if use_fine else coarse,
        gain=fine_gain if use_fine else coarse_gain,
        # without a tile there is no spectrum, and noise wider than these taps may be far stronger
        enough=spectrum.tiles > 0 and (use_fine or coarse_gain >= LEAST_SEEN_COARSE),
        fine=fine,
        fine_gain=fine_gain,
        apart=apart,
        with_anatomy=coarse.mean_variance,
    )


def _relative_error(seen: _Seen, rounding: float) -> float:
    """Combine all disagreements into the relative standard error of the standard deviation; weights were tuned on
    X-rays.

    rounding: variance added by rounding to stored steps, at full size.
    """
    curve, spectrum = seen.curve, seen.spectrum
    parts = (
        curve.spread / 2,
        curve.residual / 2 / np.sqrt(len(curve.brightness)),
        0.5 / np.sqrt(curve.looked_at),
        0.3 / np.sqrt(max(spectrum.tiles, 1)),
        spectrum.misfit / 4,
        max(spectrum.uneven, 0.0) / 4,
        max(spectrum.shape.widest - WIDE, 0.0) / 4,
        seen.apart / 4,
        rounding / seen.scale**2 / curve.mean_variance / 4,
    )
    return min(float(np.linalg.norm(parts)), 1.0)
