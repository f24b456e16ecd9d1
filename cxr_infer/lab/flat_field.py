"""Study: the noise power spectrum before and after denoising, on a flat field and on an image, and what was removed.

Noise that is removed evenly keeps its texture; noise left only at low frequencies looks blotchy. If more than noise is
removed, it shows as power where the noise has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab.conditions import FLAT, Condition, exposures
from cxr_infer.lab.contrast_detail import middle_dose
from cxr_infer.lab.detectability import with_noisy
from cxr_infer.lab.findings import DOSE, Axis, Estimate, Finding, Series
from cxr_infer.lab.jackknife import mean_estimate
from cxr_infer.lab.methods import NOISY, run
from cxr_infer.lab.noise_power import FREQUENCY_BANDS, axis_profile, noise_power, radial_profile, region_side
from cxr_infer.lab.protocol import FIELD_BRIGHTNESS, GRAY_LEVELS, Protocol
from cxr_infer.lab.setting import Method, Setting, UnitStore

NAME = "noise-power"
FLAT_FIELD, ON_IMAGE = "flat field", "image"
DIRECTIONS = ("radial", "across", "down")
SOURCE = "IEC 62220-1-1:2015"
NOT_LINEAR = (
    "In displayed gray levels, not linearised to exposure as in the standard: compare before and after, not detectors. "
    "A lower spectrum is not a better image: a blur lowers it too."
)


@dataclass(frozen=True)
class Spectra:
    """For each draw: power in frequency bands, (draws, bands), by direction, and variance, (draws,)."""

    frequency: Mapping[str, Float64Array]
    power: Mapping[str, Float64Array]
    variance: Float64Array


def study(setting: Setting, work: UnitStore) -> list[Finding]:
    """Return spectra at the middle dose: of the noise left, of the noise before, and of what was removed from a flat
    field.
    """
    protocol, methods = setting.protocol, with_noisy(setting.methods)
    name, image = next(iter(setting.images.items()))
    flat = np.full(image.shape, FIELD_BRIGHTNESS, np.float32)
    scenes = {FLAT_FIELD: (FLAT, flat), ON_IMAGE: (name, image)}
    work.expect(len(scenes) * len(protocol.noises) * len(methods))
    spectra = {
        (scene, noise, method.name): _measure(setting, work, scene, called, clean, noise, method)
        for scene, (called, clean) in scenes.items()
        for noise in protocol.noises
        for method in methods
    }
    where = {FLAT_FIELD: f"a flat field of {FIELD_BRIGHTNESS:.0%} brightness", ON_IMAGE: f"the image {name}"}
    return [
        *(
            _finding(protocol, FLAT_FIELD, direction, spectra, where[FLAT_FIELD])
            for direction in (*DIRECTIONS, "removed")
        ),
        _finding(protocol, ON_IMAGE, "radial", spectra, where[ON_IMAGE]),
        _variances(protocol, spectra, where),
    ]


def _measure(
    setting: Setting, work: UnitStore, scene: str, called: str, clean: FloatImage, noise: str, method: Method
) -> Spectra:
    """scene: FLAT_FIELD or ON_IMAGE. called: its name in the seeds of the draws."""
    protocol = setting.protocol
    side, dose = region_side((clean.shape[0], clean.shape[1])), middle_dose(protocol)

    def compute() -> dict[str, NDArray[np.generic]]:
        rows: dict[str, list[Float64Array]] = {}
        for left, removed in _noise_left(setting, called, clean, noise, dose, method):
            spectrum = noise_power([left], side, protocol.spacing)
            profiles = {
                "radial": radial_profile(spectrum, FREQUENCY_BANDS),
                "across": axis_profile(spectrum, bands=FREQUENCY_BANDS),
                "down": axis_profile(spectrum, down=True, bands=FREQUENCY_BANDS),
                "removed": radial_profile(noise_power([removed], side, protocol.spacing), FREQUENCY_BANDS),
            }
            for name, profile in profiles.items():
                rows.setdefault(name, []).append(profile.power)
                rows[f"{name} at"] = [profile.frequency]
            rows.setdefault("variance", []).append(np.array(left.var()))
        return {name: np.stack(values) for name, values in rows.items()}

    arrays = work.unit(f"{scene}, {noise}, {setting.key_of(method)}", compute)
    names = (*DIRECTIONS, "removed")
    return Spectra(
        {name: arrays[f"{name} at"][0].astype(np.float64) for name in names},
        {name: arrays[name].astype(np.float64) for name in names},
        arrays["variance"].astype(np.float64),
    )


def _pairs(protocol: Protocol, method: str = NOISY) -> int:
    return max(protocol.draws_of(method) // 2, 2)


def _fewer(protocol: Protocol, method: str) -> int | None:
    """Return the method's number of draws if it is smaller than that of the others, else None."""
    pairs = _pairs(protocol, method)
    return 2 * pairs if pairs < _pairs(protocol) else None


def _noise_left(
    setting: Setting, name: str, clean: FloatImage, noise: str, dose: float, method: Method
) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Yield the noise that the method left and removed, gray levels, from pairs of draws.

    Half the square of a pair's difference is the noise of one draw; what both have in common, anatomy and the method's
    systematic changes, cancels.
    """
    pairs = _pairs(setting.protocol, method.name)
    drawn = exposures(setting, Condition(noise, dose), name, clean, 2 * pairs)
    for _ in range(pairs):
        left, removed = [], []
        for noisy, told in islice(drawn, 2):
            denoised = run(method, noisy, told)
            left.append(denoised.astype(np.float64) * GRAY_LEVELS)
            removed.append((noisy.astype(np.float64) - denoised) * GRAY_LEVELS)
        yield (left[0] - left[1]) / np.sqrt(2), (removed[0] - removed[1]) / np.sqrt(2)


def _finding(
    protocol: Protocol, scene: str, direction: str, spectra: Mapping[tuple[str, str, str], Spectra], where: str
) -> Finding:
    spacing, removed = protocol.spacing, direction == "removed"
    frequency = "cycles/px" if spacing is None else "cycles/mm"
    area = protocol.unit_of_length
    series = tuple(
        Series(
            method,
            f"{middle_dose(protocol):g} photons, {noise}",
            tuple(found.frequency[direction].tolist()),
            tuple(_positive(column) for column in found.power[direction].T),
            _fewer(protocol, method),
        )
        for (at, noise, method), found in spectra.items()
        if at == scene and not (removed and method == NOISY)
    )
    pairs = _pairs(protocol)
    what = "what the method removed" if removed else "the noise before (noisy) and after denoising"
    how = {"radial": "all directions", "removed": "all directions", "across": "rows", "down": "columns"}[direction]
    return Finding(
        key=f"{NAME}/{scene.replace(' ', '-')}-{direction}",
        study=NAME,
        title=f"Noise power {'removed ' if removed else ''}on {where.split(' of ')[0]}, {_shown(direction)}",
        x=Axis("spatial frequency", frequency),
        y=Axis("noise power", f"gray levels^2 {area}^2", logarithmic=True),
        series=series,
        measured=f"Noise power spectrum of {what}, over {how}, from half-overlapping regions minus a fitted "
        "second-order surface.",
        on=f"{pairs} pairs of draws of {where}; half the power of each pair's difference.",
        caution=NOT_LINEAR,
        draws=2 * pairs,
        seed=protocol.seed,
        source=SOURCE,
    )


def _positive(powers: Float64Array) -> Estimate:
    """Return a mean power whose interval stays above 0, for a logarithmic axis."""
    found = mean_estimate(powers)
    return Estimate(found.value, max(found.low, found.value / 100), found.high)


def _shown(direction: str) -> str:
    return {"across": "along rows", "down": "along columns"}.get(direction, "all directions")


def _variances(
    protocol: Protocol, spectra: Mapping[tuple[str, str, str], Spectra], where: Mapping[str, str]
) -> Finding:
    dose = middle_dose(protocol)
    series = []
    for (scene, noise, method), found in spectra.items():
        before = spectra[scene, noise, NOISY].variance
        if method != NOISY:
            share = mean_estimate(100 * np.sqrt(found.variance / before[: len(found.variance)]))
            series.append(Series(method, f"{noise}, {scene}", (dose,), (share,), _fewer(protocol, method)))
    pairs = _pairs(protocol)
    return Finding(
        key=f"{NAME}/left",
        study=NAME,
        title="Noise left by denoising",
        x=DOSE,
        y=Axis("noise left", "%"),
        series=tuple(series),
        measured="Standard deviation of the noise after denoising divided by that before, in the same draws.",
        on=f"{pairs} pairs of draws of {' and of '.join(where.values())}.",
        caution="Less noise is not more information: a method can remove all noise together with all detail.",
        draws=2 * pairs,
        seed=protocol.seed,
    )
