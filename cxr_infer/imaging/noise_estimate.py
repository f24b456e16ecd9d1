"""Noise of one image from the image alone: how strong at each brightness, of what shape, and how sure that is.

At full size, then in the image reduced 2 and 4 times while its noise is too wide for the blocks' high-pass: noise of an
enlarged image cannot be told from anatomy at full size.
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
LEAST_TILES_A_SIDE = 2  # of an image that is still worth reducing
LEAST_SEEN_COARSE = 0.4  # share of the variance that the high-pass with wide taps must see, for anatomy is in it too
SURE = 0.25  # relative error up to which an estimate is worth a decision
STILL_WIDE = 1.2  # px; a scale at which noise would be wider than that is passed over
WIDE = 1.3  # px; of noise that is wider still at the last scale, part is taken for anatomy


@dataclass(frozen=True)
class Noise:
    """What one image says about its noise. Columns hold one value a knot of the curve, from dark to bright.

    brightness: [0, 1]. variance: of all frequencies, [0, 1] units squared. share: of the image's blocks around the
    knot. shape: of the power spectrum, px of the image itself. correlation: of neighbours across and down. sharpened:
    whether low frequencies are weaker than middle ones. relative_error: of the standard deviation, 0 to 1.
    with_anatomy: mean variance that the high-pass with wide taps sees, some anatomy included.
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
    """What one scale says.

    curve: of the high-pass that serves, which saw the share `gain` of the noise variance; enough: whether that will do.
    fine, fine_gain: the same of the high-pass with narrow taps. apart: log variance by which the two high-passes
    disagree, each corrected by its gain; anatomy makes the wide taps see more. with_anatomy: see `Noise`.
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
    """Estimate the noise of one image, or None where no block can tell.

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
    if error > SURE:  # then little is added to what can be seen
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
        # without a tile there is no spectrum: fine noise may be faint beside noise that is wider than these taps
        enough=spectrum.tiles > 0 and (use_fine or coarse_gain >= LEAST_SEEN_COARSE),
        fine=fine,
        fine_gain=fine_gain,
        apart=apart,
        with_anatomy=coarse.mean_variance,
    )


def _relative_error(seen: _Seen, rounding: float) -> float:
    """Standard error of the standard deviation over itself, from all that disagrees; the shares were tried on X-rays.

    rounding: variance that rounding to stored steps makes at full size.
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
