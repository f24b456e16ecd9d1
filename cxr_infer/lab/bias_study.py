"""Study: the bias of a method on one image, where it lies, its variation, and the structure it makes from pure
noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.bias import BY_CHANCE, FALSE_DISCOVERIES, Bias, Mask, marked, measure_bias
from cxr_infer.lab.conditions import FLAT, Condition, exposures
from cxr_infer.lab.contrast_detail import middle_dose
from cxr_infer.lab.detectability import with_noisy
from cxr_infer.lab.exposures import blocks
from cxr_infer.lab.false_structure import DIAMETERS, strongest_blobs
from cxr_infer.lab.findings import DOSE, Axis, Estimate, Finding, NamedMap, Series
from cxr_infer.lab.jackknife import mean_estimate, share_kept
from cxr_infer.lab.methods import NOISY, run
from cxr_infer.lab.noise import KnownNoise, expose, generator
from cxr_infer.lab.protocol import FIELD_BRIGHTNESS, GRAY_LEVELS, Protocol
from cxr_infer.lab.search import binomial
from cxr_infer.lab.setting import Method, Setting, UnitStore

NAME = "bias"
BLOCK = 16  # px, side of the squares treated as independent
ROOM = 2.0  # standard deviations of noise that a counted pixel must keep from black and white
LEAST_DRAWS = 8

Key = tuple[str, float, str]  # noise, dose, method


@dataclass(frozen=True)
class Found:
    """Results for one noise, dose and method, in gray levels of 255.

    size: root mean square bias. beyond: fraction of pixels outside their own 95% interval. marked: fraction with
    significant bias. maps: bias, significant bias, standard deviation, (3, H, W).
    """

    size: Estimate
    beyond: Estimate
    marked: Estimate
    maps: FloatImage


def study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Measure the first image under every noise and dose, and a flat field at the middle dose."""
    protocol, methods = setting.protocol, with_noisy(setting.methods)
    name, image = next(iter(setting.images.items()))
    flat = np.full(image.shape, FIELD_BRIGHTNESS, np.float32)
    work.expect(len(protocol.noises) * (len(protocol.doses) + 1) * len(methods))
    found, blobs = {}, {}
    for noise in protocol.noises:
        for method in methods:
            for dose in protocol.doses:
                found[noise, dose, method.name] = _measure(setting, work, name, image, noise, dose, method)
            blobs[noise, method.name] = _false_blobs(setting, work, flat, noise, method)
    on = f"{_draws(protocol)} draws of the image {name}."
    return [_size(protocol, found, on), _share(protocol, found, on), _blobs(protocol, blobs, image.shape)]


def _draws(protocol: Protocol, method: str = NOISY) -> int:
    return max(protocol.draws_of(method), LEAST_DRAWS)


def _fewer(protocol: Protocol, method: str) -> int | None:
    """Return the method's number of draws if it is smaller than that of the others, else None."""
    draws = _draws(protocol, method)
    return draws if draws < _draws(protocol) else None


def _results(
    setting: Setting, clean: FloatImage, name: str, condition: Condition, method: Method
) -> Iterator[FloatImage]:
    """Yield the method's result for each draw."""
    for noisy, told in exposures(setting, condition, name, clean, _draws(setting.protocol, method.name)):
        yield run(method, noisy, told)


def _measure(
    setting: Setting, work: UnitStore, name: str, image: FloatImage, noise: str, dose: float, method: Method
) -> Found:
    def compute() -> Mapping[str, NDArray[np.generic]]:
        results = _results(setting, image, name, Condition(noise, dose), method)
        bias = measure_bias(image, results, _draws(setting.protocol, method.name))
        _, told = expose(image, setting.noise(noise), dose, generator(setting.protocol.seed))
        return _summary(bias, not_cut_off(image, told))

    arrays = work.unit(f"{noise}, {dose:g} photons, {setting.key_of(method)}", compute)
    size, beyond, share = (Estimate(*(float(end) for end in row)) for row in arrays["figures"])
    return Found(size, beyond, share, arrays["maps"].astype(np.float32))


def _false_blobs(setting: Setting, work: UnitStore, flat: FloatImage, noise: str, method: Method) -> Float64Array:
    """Return the strongest false blobs on the flat field: (draws, diameters), gray levels."""
    dose = middle_dose(setting.protocol)

    def compute() -> Mapping[str, NDArray[np.generic]]:
        results = _results(setting, flat, FLAT, Condition(noise, dose), method)
        return {"blobs": np.concatenate([strongest_blobs([result]) for result in results]) * GRAY_LEVELS}

    return work.unit(f"flat field, {noise}, {setting.key_of(method)}", compute)["blobs"].astype(np.float64)


def not_cut_off(image: FloatImage, told: KnownNoise) -> Mask:
    """Return the pixels whose noise is clipped neither at black nor at white; elsewhere even a noisy image is biased.

    All pixels if there are none.
    """
    room = ROOM * np.interp(image, told.curve[:, 0], told.curve[:, 1])
    kept = np.asarray((image > room) & (image < 1 - room) & (room > 0))
    return kept if kept.any() else np.ones(image.shape, dtype=bool)


def _summary(bias: Bias, counted: Mask) -> dict[str, NDArray[np.generic]]:
    """counted: pixels used for the figures; the maps cover all."""
    chance, mean = bias.chance(), bias.mean
    off = np.zeros(counted.shape, dtype=bool)
    off[counted] = marked(chance[counted])
    size = bias.within(counted).size()
    figures = (
        Estimate(size.value * GRAY_LEVELS, size.low * GRAY_LEVELS, size.high * GRAY_LEVELS),
        share_of(chance < BY_CHANCE, counted),
        share_of(off, counted),
    )
    maps = np.stack([mean, np.where(off, mean, 0), bias.deviation]) * GRAY_LEVELS
    return {
        "figures": np.array([[each.value, each.low, each.high] for each in figures]),
        "maps": maps.astype(np.float32),
    }


def share_of(pixels: Mask, counted: Mask) -> Estimate:
    """Return the fraction of the counted pixels in percent, with a jackknife interval over squares of BLOCK px.

    If it is 0, the upper end is the exact limit for none of that many squares (Clopper and Pearson 1934).
    """
    squares = [blocks(each.astype(np.float64), BLOCK).ravel() for each in (pixels & counted, counted)]
    found = share_kept(np.stack(squares))
    high = found.high if found.value > 0 else binomial(0, int(np.count_nonzero(squares[1]))).high
    return Estimate(100 * found.value, max(100 * found.low, 0.0), min(100 * high, 100.0))


def _size(protocol: Protocol, found: Mapping[Key, Found], on: str) -> Finding:
    noise, dose = protocol.noises[0], min(protocol.doses)
    maps = tuple(
        NamedMap(method, f"{dose:g} photons, {noise}: {what}", values)
        for (n, d, method), each in found.items()
        if (n, d) == (noise, dose)
        for what, values in zip(("bias", "bias beyond chance", "standard deviation"), each.maps, strict=True)
    )
    return _finding(protocol)(
        key=f"{NAME}/size",
        title="Bias: what denoising changes in every draw",
        y=Axis("bias, root mean square", "gray levels of 255"),
        series=_by_dose(protocol, found, "size"),
        measured="Root mean square of the bias (mean of the denoised draws minus the clean image), corrected for the "
        "remaining noise. The maps show where it lies; positive is brighter than the truth. Beyond chance: Benjamini "
        f"and Yekutieli's procedure, with at most {FALSE_DISCOVERIES:.0%} of the marks expected to be false.",
        on=on,
        caution="Any method that smooths has a bias at edges and in fine texture; doing nothing has none. Pixels whose "
        "noise is clipped at black or white are in the maps but not in the figure.",
        maps=maps,
    )


def _share(protocol: Protocol, found: Mapping[Key, Found], on: str) -> Finding:
    kinds = {
        "beyond": f"outside their 95% interval ({BY_CHANCE:.0%} by chance)",
        "marked": "beyond chance (0% without bias)",
    }
    series = tuple(
        Series(each.method, f"{each.condition}, {shown}", each.x, each.y, each.draws)
        for kind, shown in kinds.items()
        for each in _by_dose(protocol, found, kind)
    )
    return _finding(protocol)(
        key=f"{NAME}/share",
        title="False structure: pixels with an error beyond chance",
        y=Axis("pixels", "%"),
        series=series,
        measured="Percentage of pixels whose mean over the draws is outside its own 95% interval around the truth "
        f"({BY_CHANCE:.0%} are by chance), and the percentage after correction for testing many pixels.",
        on=on,
        caution="It grows with the number of draws, which reveal ever smaller biases: compare methods of one run with "
        "equal n, and see how large the bias is.",
    )


def _finding(protocol: Protocol) -> partial[Finding]:
    """Return `Finding` with the fields that all findings of this study share; a finding may replace them."""
    return partial(
        Finding,
        study=NAME,
        x=DOSE,
        draws=_draws(protocol),
        seed=protocol.seed,
        source="Benjamini and Yekutieli, Annals of Statistics 29(4), 2001",
        higher_is_better=False,
    )


def _by_dose(protocol: Protocol, found: Mapping[Key, Found], figure: str) -> tuple[Series, ...]:
    methods = dict.fromkeys(method for _, _, method in found)
    return tuple(
        Series(
            method,
            noise,
            protocol.doses,
            tuple(getattr(found[noise, dose, method], figure) for dose in protocol.doses),
            _fewer(protocol, method),
        )
        for noise in protocol.noises
        for method in methods
    )


def _blobs(protocol: Protocol, found: Mapping[tuple[str, str], Float64Array], shape: tuple[int, ...]) -> Finding:
    dose, spacing = middle_dose(protocol), protocol.spacing
    series = tuple(
        Series(
            method,
            Condition(noise, dose).name,
            tuple(diameter * (spacing or 1.0) for diameter in DIAMETERS),
            tuple(mean_estimate(column) for column in blobs.T),
            _fewer(protocol, method),
        )
        for (noise, method), blobs in found.items()
    )
    return _finding(protocol)(
        key=f"{NAME}/structure-from-noise",
        title="Structure made from pure noise",
        x=Axis("diameter of the blob", protocol.unit_of_length, logarithmic=True),
        y=Axis("contrast of the strongest false blob", "gray levels of 255"),
        series=series,
        measured="Contrast of a Gaussian blob that would look like the strongest one, bright or dark, on a flat field "
        "without blobs; mean over the draws. Above the curve of the noisy image, a method creates structure.",
        on=f"{_draws(protocol)} draws of a flat field of {shape[1]}x{shape[0]} px and {FIELD_BRIGHTNESS:.0%} "
        "brightness.",
        caution="A larger field has a stronger strongest blob: compare methods, not fields. It does not show what a "
        "method makes of noise on anatomy; see the bias maps.",
        source="Difference of Gaussians, matched to the blob",
    )
