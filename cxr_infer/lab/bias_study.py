"""Study: what a method does to one image in every draw, where, how much it varies, and what pure noise becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.bias import BY_CHANCE, FALSE_DISCOVERIES, Bias, Mask, marked, measure_bias
from cxr_infer.lab.conditions import FLAT, Condition, exposures
from cxr_infer.lab.contrast_detail import middle_dose
from cxr_infer.lab.detectability import with_noisy
from cxr_infer.lab.detectability_findings import DOSE
from cxr_infer.lab.exposures import blocks
from cxr_infer.lab.false_structure import DIAMETERS, strongest_blobs
from cxr_infer.lab.findings import Axis, Estimate, Finding, NamedMap, Series
from cxr_infer.lab.jackknife import mean_estimate, share_kept
from cxr_infer.lab.methods import NOISY, run
from cxr_infer.lab.noise import Told, expose, generator
from cxr_infer.lab.protocol import Protocol
from cxr_infer.lab.search import binomial
from cxr_infer.lab.setting import Method, Setting, Work

NAME = "bias"
BRIGHTNESS = 0.5  # of the flat field
GRAY = 255.0
BLOCK = 16  # px, side of the squares that vary independently of each other
ROOM = 2.0  # standard deviations of noise between a pixel and black or white, for it to be counted
LEAST_DRAWS = 8

Array = NDArray[np.float64]
Key = tuple[str, float, str]  # noise, dose, method


@dataclass(frozen=True)
class Found:
    """Of one noise, dose and method, in gray levels of 255.

    size: root mean square of the bias. beyond: share of the pixels beyond their own 95% interval. marked: share that is
    off beyond chance. maps: bias, bias where it is marked, standard deviation, (3, H, W).
    """

    size: Estimate
    beyond: Estimate
    marked: Estimate
    maps: FloatImage


def study(setting: Setting, work: Work) -> list[Finding]:
    """The first image under every noise and dose, and a flat field at the middle dose."""
    protocol, methods = setting.protocol, with_noisy(setting.methods)
    name, image = next(iter(setting.images.items()))
    flat = np.full(image.shape, BRIGHTNESS, np.float32)
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
    """Draws of a method that is measured with fewer of them than the others."""
    draws = _draws(protocol, method)
    return draws if draws < _draws(protocol) else None


def _results(
    setting: Setting, clean: FloatImage, name: str, condition: Condition, method: Method
) -> Iterator[FloatImage]:
    """What the method makes of each draw."""
    for noisy, told in exposures(setting, condition, name, clean, _draws(setting.protocol, method.name)):
        yield run(method, noisy, told)


def _measure(
    setting: Setting, work: Work, name: str, image: FloatImage, noise: str, dose: float, method: Method
) -> Found:
    def compute() -> Mapping[str, NDArray[np.generic]]:
        results = _results(setting, image, name, Condition(noise, dose), method)
        bias = measure_bias(image, results, _draws(setting.protocol, method.name))
        _, told = expose(image, setting.noise(noise), dose, generator(setting.protocol.seed))
        return _summary(bias, not_cut_off(image, told))

    arrays = work.unit(f"{noise}, {dose:g} photons, {setting.key_of(method)}", compute)
    size, beyond, share = (Estimate(*(float(end) for end in row)) for row in arrays["figures"])
    return Found(size, beyond, share, arrays["maps"].astype(np.float32))


def _false_blobs(setting: Setting, work: Work, flat: FloatImage, noise: str, method: Method) -> Array:
    """Of the flat field: (draws, diameters), gray levels."""
    dose = middle_dose(setting.protocol)

    def compute() -> Mapping[str, NDArray[np.generic]]:
        results = _results(setting, flat, FLAT, Condition(noise, dose), method)
        return {"blobs": np.concatenate([strongest_blobs([result]) for result in results]) * GRAY}

    return work.unit(f"flat field, {noise}, {setting.key_of(method)}", compute)["blobs"].astype(np.float64)


def not_cut_off(image: FloatImage, told: Told) -> Mask:
    """The pixels with noise that neither black nor white cuts off; elsewhere even an undenoised image has a bias.

    All of them where there are none.
    """
    room = ROOM * np.interp(image, told.curve[:, 0], told.curve[:, 1])
    kept = np.asarray((image > room) & (image < 1 - room) & (room > 0))
    return kept if kept.any() else np.ones(image.shape, dtype=bool)


def _summary(bias: Bias, counted: Mask) -> dict[str, NDArray[np.generic]]:
    """counted: the pixels that figures are of; the maps are of all."""
    chance, mean = bias.chance(), bias.mean
    off = np.zeros(counted.shape, dtype=bool)
    off[counted] = marked(chance[counted])
    size = bias.within(counted).size()
    figures = (
        Estimate(size.value * GRAY, size.low * GRAY, size.high * GRAY),
        share_of(chance < BY_CHANCE, counted),
        share_of(off, counted),
    )
    maps = np.stack([mean, np.where(off, mean, 0), bias.deviation]) * GRAY
    return {
        "figures": np.array([[each.value, each.low, each.high] for each in figures]),
        "maps": maps.astype(np.float32),
    }


def share_of(pixels: Mask, counted: Mask) -> Estimate:
    """Share of the counted pixels in percent, with a jackknife interval over groups of squares of BLOCK px.

    Where it is 0, the upper end is the exact one of no square out of so many (Clopper and Pearson 1934).
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
    return Finding(
        key=f"{NAME}/size",
        study=NAME,
        title="Bias: what denoising changes in every draw",
        x=DOSE,
        y=Axis("bias, root mean square", "gray levels of 255"),
        series=_by_dose(protocol, found, "size"),
        measured="Root mean square of the bias (mean of the denoised draws less the clean image), less what noise "
        "leaves in "
        "that mean. The maps show where it lies; positive is brighter than the truth. Beyond chance: Benjamini and "
        f"Yekutieli's procedure, of whose marks at most {FALSE_DISCOVERIES:.0%} are expected to be false.",
        on=on,
        caution="Any method that smooths has a bias at edges and in fine texture; doing nothing has none. Pixels whose "
        "noise "
        "is cut off at black or white are in the maps but not in the figure.",
        draws=_draws(protocol),
        seed=protocol.seed,
        source="Benjamini and Yekutieli, Annals of Statistics 29(4), 2001",
        higher_is_better=False,
        maps=maps,
    )


def _share(protocol: Protocol, found: Mapping[Key, Found], on: str) -> Finding:
    kinds = {
        "beyond": f"beyond their 95% interval ({BY_CHANCE:.0%} by chance)",
        "marked": "beyond chance (0% without bias)",
    }
    series = tuple(
        Series(each.method, f"{each.condition}, {shown}", each.x, each.y, each.draws)
        for kind, shown in kinds.items()
        for each in _by_dose(protocol, found, kind)
    )
    return Finding(
        key=f"{NAME}/share",
        study=NAME,
        title="False structure: pixels that are off beyond their error",
        x=DOSE,
        y=Axis("pixels", "%"),
        series=series,
        measured="Share of the pixels whose mean over the draws lies beyond its own 95% interval about the truth, of "
        "which "
        f"{BY_CHANCE:.0%} do so by chance, and share that stays once so many pixels are tested at once.",
        on=on,
        caution="It grows with the number of draws, since ever smaller biases are found: compare methods of one run "
        "with equal n, and see how large the bias is.",
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


def _blobs(protocol: Protocol, found: Mapping[tuple[str, str], Array], shape: tuple[int, ...]) -> Finding:
    dose, spacing = middle_dose(protocol), protocol.spacing
    series = tuple(
        Series(
            method,
            f"{dose:g} photons, {noise}",
            tuple(diameter * (spacing or 1.0) for diameter in DIAMETERS),
            tuple(mean_estimate(column) for column in blobs.T),
            _fewer(protocol, method),
        )
        for (noise, method), blobs in found.items()
    )
    return Finding(
        key=f"{NAME}/structure-from-noise",
        study=NAME,
        title="Structure made from pure noise",
        x=Axis("diameter of the blob", "px" if spacing is None else "mm", logarithmic=True),
        y=Axis("contrast of the strongest false blob", "gray levels of 255"),
        series=series,
        measured="Contrast of a Gaussian blob that would look like the strongest one, bright or dark, on a flat field, "
        "where "
        "there is none; mean over the draws. Above the curve of the undenoised image a method makes structure up.",
        on=f"{_draws(protocol)} draws of a flat field of {shape[1]}x{shape[0]} px and {BRIGHTNESS:.0%} brightness.",
        caution="A larger field has a stronger strongest blob: compare methods, not fields. It says nothing of what a "
        "method "
        "makes of noise on anatomy; see the bias maps.",
        draws=_draws(protocol),
        seed=protocol.seed,
        source="Difference of Gaussians, matched to the blob",
        higher_is_better=False,
    )
