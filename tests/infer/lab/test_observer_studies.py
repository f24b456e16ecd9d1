"""The observer studies from protocol to findings, at a small scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.lab import bias_study, contrast_detail, flat_field, repeated
from cxr_infer.lab.contrast_detail import sizes_of
from cxr_infer.lab.detectability import detectability_study, equivalence_study, finer, search_study
from cxr_infer.lab.detectability_findings import slug
from cxr_infer.lab.exposures import register
from cxr_infer.lab.findings import Estimate, Finding
from cxr_infer.lab.jackknife import groups_of
from cxr_infer.lab.methods import CLASSICAL, NamedMethod, find_methods
from cxr_infer.lab.noise import expose
from cxr_infer.lab.observed import ALONG, Scene, channel_outputs, scene_of
from cxr_infer.lab.observer import analytic_d_prime, difference_of_gaussians
from cxr_infer.lab.protocol import Protocol, Signal
from cxr_infer.lab.setting import Setting
from cxr_infer.lab.signals import draw

NODULE, DISC = Signal("nodule", 8, 10), Signal("disc", 5, 10)
DOSES = (50.0, 200.0)


class UncachedStore:
    """A `UnitStore` that computes each unit when requested and stores none."""

    def __init__(self) -> None:
        self.expected = 0
        self.keys: list[str] = []

    def expect(self, units: int) -> None:
        self.expected += units

    def unit(
        self, key: str, compute: Callable[[], Mapping[str, NDArray[np.generic]]]
    ) -> Mapping[str, NDArray[np.generic]]:
        assert key not in self.keys
        self.keys.append(key)
        return compute()


@pytest.fixture(scope="module")
def setting() -> Setting:
    protocol = Protocol(
        name="test",
        version=1,
        seed=1,
        phantoms=1,
        side=256,
        spacing=None,
        doses=DOSES,
        noises=("white",),
        methods=("gaussian",),
        signals=(NODULE, DISC, Signal("line", 2, 10)),
        contrasts=(4, 8),
        draws=24,
        studies=("detectability", "search", "dose-equivalence"),
    )
    return Setting(protocol, {"phantom 1": render_phantom(1, 256)}, find_methods(["gaussian"]))


def found(study: Callable[[Setting, UncachedStore], list[Finding]], setting: Setting) -> dict[str, Finding]:
    work = UncachedStore()
    findings = {finding.key: finding for finding in study(setting, work)}
    assert len(work.keys) == work.expected
    for finding in findings.values():
        for text in (finding.title, finding.measured, finding.on, finding.caution):
            assert text
            assert "\n" not in text
        for series in finding.series:
            assert len(series.x) == len(series.y) > 0
            assert np.isfinite([[y.low, y.value, y.high] for y in series.y]).all()
            assert all(y.low <= y.value <= y.high for y in series.y)
    return findings


@pytest.fixture(scope="module")
def detected(setting: Setting) -> dict[str, Finding]:
    return found(detectability_study, setting)


def values(finding: Finding, method: str) -> list[Estimate]:
    return [y for series in finding.series if series.method == method for y in series.y]


def test_d_prime_before_denoising_matches_theory(setting: Setting) -> None:
    """On a flat field, whose noise is the same everywhere."""
    flat = {"flat": np.full((256, 256), 0.5, np.float32)}
    protocol = replace(setting.protocol, draws=60, doses=(200.0,), studies=("detectability",))
    on_flat = replace(setting, images=flat, protocol=protocol, methods=[])
    findings, scene = found(detectability_study, on_flat), scene_of(on_flat, [NODULE, DISC])
    for signal in (NODULE, DISC):
        middle = (scene.side // 2, scene.side // 2)
        drawn = draw(signal, (scene.side, scene.side), middle).astype(np.float64)
        expected = analytic_d_prime(drawn, scene.channels, np.sqrt(0.5 / 200))
        measured = values(findings[f"detectability/{slug(signal)}"], "noisy")[0]
        assert measured.low < expected < measured.high
        assert measured.value == pytest.approx(expected, rel=0.08)


@pytest.mark.slow
def test_d_prime_of_a_line_before_denoising_matches_theory(setting: Setting) -> None:
    flat = {"flat": np.full((256, 256), 0.5, np.float32)}
    line = Signal("dark-line", 2, 8)
    found_at_seeds = []
    for seed in range(4):
        protocol = replace(
            setting.protocol, seed=seed, draws=40, doses=(200.0,), studies=("detectability",), signals=(line,)
        )
        on_flat = replace(setting, images=flat, protocol=protocol, methods=[])
        finding = found(detectability_study, on_flat)[f"detectability/{slug(line)}"]
        assert "in a known direction" in finding.measured
        found_at_seeds += values(finding, "noisy")
    scene = scene_of(on_flat, [line], ALONG)
    drawn = draw(line, (scene.side, scene.side), (scene.side // 2, scene.side // 2)).astype(np.float64)
    expected = analytic_d_prime(drawn, scene.channels, np.sqrt(0.5 / 200))
    assert np.mean([each.value for each in found_at_seeds]) == pytest.approx(expected, rel=0.05)
    assert sum(each.low < expected < each.high for each in found_at_seeds) >= 3


@pytest.mark.slow
def test_a_method_with_fewer_draws_is_compared_on_the_same_draws(setting: Setting) -> None:
    """The undenoised image under another name keeps everything, whichever draws it is not measured with."""
    again = NamedMethod("again", CLASSICAL["noisy"])
    protocol = replace(setting.protocol, fewer_draws={"again": 10})
    findings = found(detectability_study, replace(setting, protocol=protocol, methods=[again]))
    for key, finding in findings.items():
        assert finding.draws == 24
        of = {series.method: series for series in finding.series}
        assert of["again"].draws == 10
        assert "noisy" not in of or of["noisy"].draws is None
        if key.startswith(("detectability-kept", "dose-equivalence")):
            np.testing.assert_allclose([[y.low, y.value, y.high] for y in of["again"].y], 1, atol=1e-5)
        if key.startswith("search-change"):
            assert all(y.value == 0 for y in of["again"].y)
    kept = findings["detectability/nodule-8-+10"]
    few, many = (next(s.y[1] for s in kept.series if s.method == name) for name in ("again", "noisy"))
    assert few.high - few.low > 1.2 * (many.high - many.low)


@pytest.mark.parametrize("study", [contrast_detail.study, flat_field.study, bias_study.study])
def test_other_studies_respect_fewer_draws_too(
    study: Callable[[Setting, UncachedStore], list[Finding]], setting: Setting
) -> None:
    again = NamedMethod("again", CLASSICAL["noisy"])
    protocol = replace(setting.protocol, fewer_draws={"again": 10}, doses=(200.0,))
    findings = found(study, replace(setting, protocol=protocol, methods=[again])).values()
    draws = {(series.method, series.draws) for finding in findings for series in finding.series}
    assert draws == {("again", 10), ("noisy", None)}


def test_every_task_is_reported_for_each_signal(setting: Setting, detected: dict[str, Finding]) -> None:
    kinds = (
        "detectability",
        "auc",
        "detectability-eye",
        "detectability-kept",
        "search",
        "search-change",
        "dose-equivalence",
    )
    of_lines = {f"{kind}/line-2-+10" for kind in kinds if not kind.startswith("search")}
    compact = {f"{kind}/{signal}" for kind in kinds for signal in ("nodule-8-+10", "disc-5-+10")}
    assert set(detected) == compact | of_lines
    assert "theory expects no method to improve d'" in detected["detectability/nodule-8-+10"].caution
    for one, other in pairwise(values(detected["detectability/disc-5-+10"], "noisy")):
        assert other.value > one.value
    for eye, best in zip(
        values(detected["detectability-eye/disc-5-+10"], "noisy"),
        values(detected["detectability/disc-5-+10"], "noisy"),
        strict=True,
    ):
        assert eye.value < best.high
    before, after = (values(detected["search/disc-5-+10"], method) for method in ("noisy", "gaussian"))
    assert before[0].value < before[-1].value
    for one, other, change in zip(before, after, values(detected["search-change/disc-5-+10"], "gaussian"), strict=True):
        assert change.value == pytest.approx(other.value - one.value, abs=1e-9)
        assert change.low < change.value < change.high


def test_a_blur_gains_nothing_at_a_known_place(detected: dict[str, Finding]) -> None:
    """The channels see through a blur: what it does to signal and noise alike, the observer undoes."""
    kept = detected["detectability-kept/nodule-8-+10"]
    assert all((y.low, y.value, y.high) == (1, 1, 1) for y in values(kept, "noisy"))
    for y in values(kept, "gaussian")[1:]:
        assert 0.7 < y.value < 1.15
        assert y.low < 1.05


def test_equivalent_doses_lie_within_the_measured_doses(detected: dict[str, Finding]) -> None:
    for signal in ("nodule-8-+10", "disc-5-+10"):
        finding = detected[f"dose-equivalence/{signal}"]
        assert "it holds only for this task, contrast and size" in finding.caution
        assert len(finding.series[0].x) >= 2
        for series in finding.series:
            for dose, ratio in zip(series.x, series.y, strict=True):
                assert min(finer(DOSES)) <= ratio.low * dose * (1 + 1e-9)
                assert ratio.high * dose * (1 - 1e-9) <= max(finer(DOSES))


def test_doses_are_finer_before_denoising() -> None:
    assert finer((200.0, 50.0)) == [12.5, 25, 50, 100, 200, 400]


def test_three_studies_share_one_measurement(setting: Setting, detected: dict[str, Finding]) -> None:
    assert found(search_study, setting) == found(equivalence_study, setting) == {}
    alone = Setting(replace(setting.protocol, studies=("search",), doses=(200.0,)), setting.images, setting.methods)
    findings = found(search_study, alone)
    assert set(findings) == {
        f"{kind}/{signal}" for kind in ("search", "search-change") for signal in ("nodule-8-+10", "disc-5-+10")
    }
    for key, finding in findings.items():
        assert finding.series[0].y[0] == detected[key].series[0].y[1]


def test_channels_cover_the_place_and_its_surroundings() -> None:
    channels = difference_of_gaussians(33)
    image = draw(DISC, (80, 80), (40, 42))
    outputs = channel_outputs(image, np.array([[40, 40]]), channels, 33)[0]
    centred = channels @ image[24:57, 26:59].ravel() * 255
    side = round(len(outputs) ** 0.5)
    np.testing.assert_allclose(outputs.reshape(side, side, -1)[side // 2, side // 2 + 1], centred, rtol=1e-4)


def test_larger_discs_have_lower_threshold_contrasts(setting: Setting) -> None:
    assert sizes_of(setting.protocol)[-1] == 8
    assert len(sizes_of(setting.protocol)) == 3
    findings = found(contrast_detail.study, setting)
    for series in findings["contrast-detail/threshold"].series:
        contrasts = [y.value for y in series.y]
        assert contrasts == sorted(contrasts, reverse=True)
    noisy = findings["contrast-detail/threshold"].series[0]
    assert (noisy.method, noisy.condition, len(noisy.x)) == ("noisy", "200 photons, white", 3)
    figure = findings["contrast-detail/figure"].series[0].y[0]
    assert figure.value == pytest.approx(100 / sum(x * y.value for x, y in zip(noisy.x, noisy.y, strict=True)))


def test_noise_spectra_before_after_and_removed_match_theory(setting: Setting) -> None:
    findings = found(flat_field.study, setting)
    radial = findings["noise-power/flat-field-radial"]
    before, after = (np.array([y.value for y in series.y]) for series in radial.series)
    np.testing.assert_allclose(before, 255**2 * 0.5 / 200, rtol=0.3)
    assert before.mean() == pytest.approx(255**2 * 0.5 / 200, rel=0.02)
    frequency = np.array(radial.series[1].x)
    transfer = np.exp(-2 * (np.pi * 1.65 * frequency) ** 2)  # of the Gaussian at 200 photons
    strong = transfer > 0.15  # below that, power leaks in from lower frequencies
    np.testing.assert_allclose(after[strong], (before * transfer**2)[strong], rtol=0.15)
    removed = np.array([y.value for y in findings["noise-power/flat-field-removed"].series[0].y])
    np.testing.assert_allclose(removed[~strong], (before * (1 - transfer) ** 2)[~strong], rtol=0.15)
    left = values(findings["noise-power/left"], "gaussian")[0]
    assert left.value == pytest.approx(100 / (2 * np.sqrt(np.pi) * 1.65), rel=0.1)


def test_bias_and_false_structure_of_the_noisy_image_and_of_a_blur(setting: Setting) -> None:
    findings = found(bias_study.study, replace(setting, protocol=replace(setting.protocol, doses=DOSES[1:])))
    share = findings["bias/share"]
    beyond, beyond_chance = (
        [y.value for series in share.series if series.method == "noisy" and what in series.condition for y in series.y]
        for what in ("their 95% interval", "beyond chance")
    )
    np.testing.assert_allclose(beyond, 5, atol=1.0)
    assert max(beyond_chance) < 0.05
    noisy, blurred = (values(findings["bias/size"], method) for method in ("noisy", "gaussian"))
    assert all(one.value < 0.1 * other.value for one, other in zip(noisy, blurred, strict=True))
    assert {(each.method, each.values.shape) for each in findings["bias/size"].maps} == {
        ("noisy", (256, 256)),
        ("gaussian", (256, 256)),
    }
    blobs = findings["bias/structure-from-noise"]
    for before, after in zip(values(blobs, "noisy"), values(blobs, "gaussian"), strict=True):
        assert after.value < before.value


def test_repeated_exposures_are_reported_if_given(setting: Setting) -> None:
    assert found(repeated.study, setting) == {}
    rng = np.random.default_rng(1)
    clean = np.clip(setting.images["phantom 1"], 0.2, 0.8)
    frames = register([expose(clean, "white", 200.0, rng)[0] for _ in range(2)], ["a", "b"])
    findings = found(repeated.study, replace(setting, frames=frames))
    assert set(findings) == {
        f"repeated/{key}" for key in ("noise-curve", "noise-power", "error", "bias", "detail-kept")
    }
    noise = 255 * np.sqrt(clean.mean() / 200)
    assert values(findings["repeated/error"], "noisy")[0].value == pytest.approx(noise, rel=0.03)
    assert values(findings["repeated/error"], "gaussian")[0].value < noise / 2
    assert values(findings["repeated/bias"], "gaussian")[0].low > 0


@pytest.mark.parametrize("change", [{"signals": (Signal("line", 2, 10),)}, {"signals": (Signal("disc", 90, 10),)}])
def test_signals_that_no_observer_can_measure_are_refused(setting: Setting, change: dict[str, tuple[Signal]]) -> None:
    with pytest.raises(UsageError, match="signal"):
        found(detectability_study, replace(setting, protocol=replace(setting.protocol, **change)))


def test_too_few_draws_to_show_each_signal_are_refused(setting: Setting) -> None:
    """Contrast-detail shows many discs; each must appear even without any one group of draws."""
    discs = [Signal("disc", 4.0, contrast) for contrast in range(4, 64, 2)]

    def scene(draws: int) -> Scene:
        return scene_of(replace(setting, protocol=replace(setting.protocol, draws=draws)), discs)

    with pytest.raises(UsageError, match=r"^12 draws are too few for 30 signals; use \d+ or more") as refused:
        scene(12)
    enough = int(str(refused.value).split("use ")[1].split()[0])
    with pytest.raises(UsageError, match="draws are too few for"):
        scene(enough - 1)
    shown = scene(enough)
    for group in np.unique(groups_of(enough)):
        assert set(shown.signal_of[groups_of(enough) != group].ravel()) == set(range(30))


def test_an_image_without_room_for_windows_is_refused(setting: Setting) -> None:
    for image in (np.zeros((256, 256), np.float32), np.full((60, 60), 0.5, np.float32)):
        with pytest.raises(UsageError, match=r"room for only \d windows of 41 px"):
            found(detectability_study, replace(setting, images={"image": image}))


def test_the_window_is_as_wide_as_the_image_allows(setting: Setting) -> None:
    flat = replace(setting, images={"flat": np.full((256, 256), 0.5, np.float32)})
    wide, narrow = (scene_of(flat, [Signal("nodule", size, 10)]) for size in (14, 56))
    assert wide.side == 43
    assert 1.5 * 56 - 1 <= narrow.side < 3 * 56
    for scene in (wide, narrow):
        assert scene.places.shape[1] >= 4
        reach = scene.side // 2 + 4
        assert scene.places.min() >= reach
        assert scene.places.max() < 256 - reach
