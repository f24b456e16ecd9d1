"""Study: noise and denoising measured on repeated exposures of a real object, without a clean image.

Two frames a and b have independent noise, so for a denoised frame D(a), over the image,

    mean (D(a) - b)^2 - var(b)   = mean squared error of D(a),   var(b) = mean (a - b)^2 / 2
    mean (a - D(a)) (b - D(b))   = mean squared bias of D
    sum D(a)_f b_f / sum a_f b_f = fraction of the structure of fineness f that D preserves

The noise of b is independent of that of a in all these products: what D removes from a is noise of a, and the bias of
D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.detectability import with_noisy
from cxr_infer.lab.exposures import Frames, blocks, detector_of_frames, noise_curve
from cxr_infer.lab.findings import Axis, Estimate, Finding, NamedMap, Series
from cxr_infer.lab.jackknife import mean_estimate, share_kept
from cxr_infer.lab.methods import NOISY, run
from cxr_infer.lab.noise import KnownNoise, spectrum_at
from cxr_infer.lab.noise_power import FREQUENCY_BANDS, noise_power, radial_profile, region_side
from cxr_infer.lab.protocol import GRAY_LEVELS
from cxr_infer.lab.setting import Method, Setting, UnitStore

NAME = "repeated"
BLOCK = 32  # px, side of the squares treated as independent
WIDTHS = (0.0, 1.0, 2.0, 4.0, 8.0)  # px; structure between two successive Gaussians is one fineness
MAP_WIDTH = 2.0  # px, of the Gaussian that suppresses noise in the bias map
NORMAL = 1.96  # standard errors of a 95% interval


@dataclass(frozen=True)
class FramesResult:
    """Results of one method on the frames, in gray levels of 255; columns hold one value per block.

    error, bias: squares. kept: sums of D(a) b and of a b for each fineness, (finenesses, 2, blocks). power: of the
    noise left, bands by value and standard error. map: local bias, (H, W).
    """

    error: Float64Array
    bias: Float64Array
    kept: Float64Array
    power: Float64Array
    map: FloatImage


def study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Return nothing if the setting has no frames."""
    frames = setting.frames
    if frames is None:
        return []
    methods = with_noisy(setting.methods)
    work.expect(len(methods))
    detector = detector_of_frames(frames)
    told = KnownNoise(detector.curve, spectrum_at(detector.spectrum, frames.mean.shape))
    found = {method.name: _measure(setting, work, frames, method, told) for method in methods}
    report = _Report(setting, frames, found)
    return [report.curve(), report.power(), report.error(), report.bias(), report.kept()]


def _measure(setting: Setting, work: UnitStore, frames: Frames, method: Method, told: KnownNoise) -> FramesResult:
    def compute() -> Mapping[str, NDArray[np.generic]]:
        denoised = np.stack([run(method, np.clip(frame, 0, 1), told) for frame in frames.stack])
        return outcome(frames, denoised, setting.protocol.spacing)

    arrays = work.unit(setting.key_of(method), compute)
    error, bias, kept, power = (arrays[name].astype(np.float64) for name in ("error", "bias", "kept", "power"))
    return FramesResult(error, bias, kept, power, arrays["map"].astype(np.float32))


def outcome(frames: Frames, denoised: NDArray[np.float32], spacing: float | None) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a `FramesResult`: means over all pairs of different frames.

    denoised: of each frame, (K, H, W).
    """
    stack, count = frames.stack, len(frames.stack)
    pairs = count * (count - 1)
    total, squares = _sum(stack), _sum(stack, stack)
    error = sum(
        count * result**2 - 2 * result * total + squares - (result - frame) ** 2
        for result, frame in zip(_gray(denoised), _gray(stack), strict=True)
    )
    removed = stack - denoised
    removed_total = _sum(removed)
    left = ((_gray(denoised[k : k + 2])) for k in range(0, count - 1, 2))
    shape = (stack.shape[1], stack.shape[2])
    spectrum = noise_power(((one - other) / np.sqrt(2) for one, other in left), region_side(shape), spacing)
    profile = radial_profile(spectrum, FREQUENCY_BANDS)
    return {
        "error": blocks(error / pairs - frames.variance * GRAY_LEVELS**2, BLOCK).ravel(),
        "bias": blocks((removed_total**2 - _sum(removed, removed)) / pairs, BLOCK).ravel(),
        "kept": _kept(stack, denoised),
        "power": np.stack([profile.frequency, profile.power, profile.relative_error]),
        "map": cv2.GaussianBlur(-removed_total / count, (0, 0), MAP_WIDTH).astype(np.float32),
    }


def _gray(images: NDArray[np.float32]) -> Iterator[Float64Array]:
    """Yield images in gray levels one by one, to limit memory."""
    return (image.astype(np.float64) * GRAY_LEVELS for image in images)


def _sum(images: NDArray[np.float32], others: NDArray[np.float32] | None = None) -> Float64Array:
    """Sum the images, or their products with others, in gray levels."""
    total = np.zeros(images.shape[1:])
    for index, image in enumerate(_gray(images)):
        total += image if others is None else image * others[index] * GRAY_LEVELS
    return total


def _kept(stack: NDArray[np.float32], denoised: NDArray[np.float32]) -> Float64Array:
    """Sum over pairs of different frames: the product of the sums minus the products of each frame with itself."""
    rows = []
    for fine, coarse in pairwise(WIDTHS):
        before = np.stack([_band(frame, fine, coarse) for frame in stack])
        sums = []
        for images in (denoised, stack):
            after = np.stack([_band(image, fine, coarse) for image in images])
            sums.append(blocks(_sum(after) * _sum(before) - _sum(after, before), BLOCK).ravel())
        rows.append(sums)
    return np.array(rows)


def _band(image: FloatImage, fine: float, coarse: float) -> FloatImage:
    finer = cv2.GaussianBlur(image, (0, 0), fine) if fine > 0 else image
    return np.asarray(finer - cv2.GaussianBlur(image, (0, 0), coarse), dtype=np.float32)


def root_mean(squares: Float64Array) -> Estimate:
    """Return the root of a mean square, which may be slightly negative, with Student's interval over the blocks."""
    found = mean_estimate(squares)
    return Estimate(*(float(np.sqrt(max(end, 0.0))) for end in (found.value, found.low, found.high)))


@dataclass(frozen=True)
class _Report:
    """Builds the findings. found: by method."""

    setting: Setting
    frames: Frames
    found: Mapping[str, FramesResult]

    @property
    def noise(self) -> float:
        """Standard deviation of one frame's noise, gray levels."""
        return float(np.sqrt(self.frames.variance.mean())) * GRAY_LEVELS

    def curve(self) -> Finding:
        measured = noise_curve(self.frames)
        alone = estimate_mottle(self.frames.stack[0]).curve
        series = [
            Series(
                "repeated exposures",
                "all frames",
                tuple(GRAY_LEVELS * each for each in measured.brightness),
                tuple(Estimate(GRAY_LEVELS * s.value, GRAY_LEVELS * s.low, GRAY_LEVELS * s.high) for s in measured.sd),
            )
        ]
        if alone:
            brightness, sd = np.array(alone).T * GRAY_LEVELS
            series.append(
                Series(
                    "estimate", "first frame alone", tuple(brightness.tolist()), tuple(map(Estimate.exact, sd.tolist()))
                )
            )
        return self._finding(
            "noise-curve",
            "Noise against brightness",
            Axis("brightness", "gray levels of 255"),
            Axis("noise", "gray levels of 255"),
            series,
            "Standard deviation of one frame's noise at each brightness, from the differences of the frames, and as "
            "estimated by cxr-infer from the first frame alone, without an interval.",
            "As stored and displayed, not linearised to exposure.",
            None,
        )

    def power(self) -> Finding:
        spacing = self.setting.protocol.spacing
        unit = "px" if spacing is None else "mm"
        series = []
        for method, each in self.found.items():
            frequency, power, error = each.power
            ends = zip(power, power * np.maximum(1 - NORMAL * error, 0.01), power * (1 + NORMAL * error), strict=True)
            estimates = tuple(Estimate(*(float(v) for v in end)) for end in ends)
            series.append(Series(method, "frames", tuple(frequency.tolist()), estimates))
        return self._finding(
            "noise-power",
            "Noise power before and after denoising",
            Axis("spatial frequency", f"cycles/{unit}"),
            Axis("noise power", f"gray levels^2 {unit}^2", logarithmic=True),
            series,
            "Noise power spectrum from the difference of two frames, noisy and denoised, over all directions.",
            "In displayed gray levels, not linearised to exposure. The intervals hold for noise without spikes. A "
            "lower spectrum is not a better image: a blur lowers it too.",
            None,
            "IEC 62220-1-1:2015",
        )

    def error(self) -> Finding:
        return self._finding(
            "error",
            "True error on the real object",
            self._noise_axis,
            Axis("error, root mean square", "gray levels of 255"),
            self._points(lambda each: root_mean(each.error)),
            "Root mean square error of a frame, noisy and denoised, against the other frames, corrected for their "
            "noise.",
            "Over the whole image, most of it uniform: lost detail hardly shows. See the structure preserved.",
            False,
            "Mean (D(a) - b)^2 - var(b)",
        )

    def bias(self) -> Finding:
        maps = tuple(NamedMap(method, "local bias", each.map) for method, each in self.found.items() if method != NOISY)
        return self._finding(
            "bias",
            "Bias on the real object",
            self._noise_axis,
            Axis("bias, root mean square", "gray levels of 255"),
            self._points(lambda each: root_mean(each.bias)),
            "Root mean square of a method's changes common to all frames, from the product of its changes to two "
            f"frames. Maps: mean change of the frames, smoothed by {MAP_WIDTH:g} px; they still contain noise.",
            "Any method that smooths has a bias at edges. Whatever the frames have in common, such as dirt, counts as "
            "truth.",
            False,
            "Mean (a - D(a)) (b - D(b))",
            maps,
        )

    def kept(self) -> Finding:
        finenesses = [(max(fine, 0.5) * coarse) ** 0.5 for fine, coarse in pairwise(WIDTHS)]
        spacing = self.setting.protocol.spacing or 1.0
        unit = self.setting.protocol.unit_of_length
        series = [
            Series(method, "frames", tuple(width * spacing for width in finenesses), tuple(map(share_kept, each.kept)))
            for method, each in self.found.items()
        ]
        return self._finding(
            "detail-kept",
            "Real structure preserved, by fineness",
            Axis("width of the structure", unit, logarithmic=True),
            Axis("kept", "share"),
            series,
            "Fraction of the structure common to all frames that is left after denoising, between Gaussians of "
            f"{', '.join(f'{width:g}' for width in WIDTHS)} px; 1 is all.",
            "It is dominated by the strongest structures of the object; faint ones may be preserved less. Without "
            "structure of a fineness, the interval is wide.",
            True,
            "Sum D(a) b / sum a b",
        )

    @property
    def _noise_axis(self) -> Axis:
        return Axis("noise of one frame", "gray levels of 255")

    def _points(self, value: Callable[[FramesResult], Estimate]) -> list[Series]:
        return [Series(method, "frames", (self.noise,), (value(each),)) for method, each in self.found.items()]

    def _finding(
        self,
        key: str,
        title: str,
        x: Axis,
        y: Axis,
        series: Sequence[Series],
        measured: str,
        caution: str,
        better: bool | None,
        source: str = "",
        maps: tuple[NamedMap, ...] = (),
    ) -> Finding:
        count, height, width = self.frames.stack.shape
        return Finding(
            key=f"{NAME}/{key}",
            study=NAME,
            title=title,
            x=x,
            y=y,
            series=tuple(series),
            measured=measured,
            on=f"{count} exposures of one object, {width}x{height} px.",
            caution=caution,
            draws=count,
            seed=self.setting.protocol.seed,
            source=source,
            higher_is_better=better,
            maps=maps,
        )
