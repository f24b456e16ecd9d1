from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.detector_noise import STEPS, expose, parse_protocol
from benchmarks.detectors import (
    protocols,
    read_sds,
)
from cxr_infer.errors import DataError, UsageError
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.lab.classical import stabilisers
from cxr_infer.lab.noise import DETECTORS as NAMES
from cxr_infer.lab.noise import MEASURED, WHITE, load_detectors, noise_field, spectrum_at

FloatImage = NDArray[np.float32]
DETECTORS = load_detectors()
NAMED = sorted(set(DETECTORS) - {WHITE})


@pytest.fixture(scope="module")
def xray() -> FloatImage:
    """A phantom in which no pixel is near black or white, so that clipping takes no noise away."""
    return np.asarray(0.25 + 0.5 * render_phantom(2, 256), dtype=np.float32)


def power(noise: NDArray[np.floating], bands: int = 6) -> NDArray[np.float64]:
    """Mean power, relative to the mean of all, in rings of equal width from 0 to half a cycle a pixel."""
    spectrum = np.abs(np.fft.fft2(noise - noise.mean())) ** 2
    rows, columns = (np.fft.fftfreq(side) for side in noise.shape)
    ring = np.minimum((np.hypot(rows[:, None], columns) * 2 * bands).astype(int), bands)
    means = np.bincount(ring.ravel(), spectrum.ravel()) / np.bincount(ring.ravel())
    return np.asarray(means[:bands] / spectrum.mean())


def correlation(noise: NDArray[np.floating], axis: int) -> float:
    a, b = (np.take(noise, range(start, noise.shape[axis] - 1 + start), axis) for start in (0, 1))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_every_measurement_loads_and_names_its_source() -> None:
    assert sorted(NAMES) == NAMED
    table = json.loads((MEASURED / "detectors.json").read_text())
    readme = (MEASURED / "README.md").read_text()
    for name in NAMED:
        detector = DETECTORS[name]
        assert detector.spectrum.shape == (32, 32)
        assert detector.spectrum.min() >= 0
        assert detector.spectrum.mean() == pytest.approx(1, abs=1e-3)
        brightness, sd = detector.curve.T
        assert (np.diff(brightness) > 0).all()
        assert 0 < brightness[0] < brightness[-1] < 1
        assert (sd > 0).all()
        assert f"| `{name}` | {table[name]['detector']} |" in readme


def test_damaged_measurements_are_named(tmp_path: Path) -> None:
    for text in ("{", '{"gone": {"curve": [[0, 1]]}}', '{"a": 1}'):
        (tmp_path / "detectors.json").write_text(text)
        with pytest.raises(DataError, match=str(tmp_path)):
            load_detectors(tmp_path)


@pytest.mark.parametrize("name", list(DETECTORS))
def test_noise_has_the_spectrum_asked_for(name: str) -> None:
    large = spectrum_at(DETECTORS[name].spectrum, (256, 320))
    assert large.shape == (256, 320)
    assert large.mean() == pytest.approx(1)
    np.testing.assert_allclose(large, np.roll(large[::-1, ::-1], (1, 1), axis=(0, 1)), rtol=1e-3)
    noise = noise_field(large, np.random.default_rng(1))
    assert noise.std() == pytest.approx(1, rel=0.05)
    expected = power(np.fft.ifft2(np.sqrt(large)).real)
    np.testing.assert_allclose(power(noise), expected, rtol=0.12)


def test_neighbours_correlate_as_on_the_detector(xray: FloatImage) -> None:
    """The correlations that were measured on the radiographs themselves, across and down."""
    measured = {"canon_dr_chest": (0.26, 0.28), "ge_dr_knee": (0.45, 0.57), "fuji_cr_hip": (0.09, 0.10)}
    for name, (across, down) in measured.items():
        noise = noise_field(spectrum_at(DETECTORS[name].spectrum, (384, 384)), np.random.default_rng(0))
        assert correlation(noise, 1) == pytest.approx(across, abs=0.08)
        assert correlation(noise, 0) == pytest.approx(down, abs=0.08)


@pytest.mark.parametrize("name", list(DETECTORS))
def test_noise_follows_the_curve_asked_for(name: str) -> None:
    clean = np.tile(np.linspace(0.15, 0.75, 384, dtype=np.float32), (384, 1))
    shot = expose(clean, DETECTORS[name], "", 4.0, np.random.default_rng(0))
    np.testing.assert_array_equal(shot.clean, clean)
    noise = (shot.noisy - clean).astype(np.float64)
    assert 255 * noise.std() == pytest.approx(4, rel=0.05)
    found = noise.reshape(384, 8, 48).std(axis=(0, 2))
    asked = np.interp(clean[0], *shot.told.curve.T).reshape(8, 48)
    np.testing.assert_allclose(found, np.sqrt((asked**2).mean(axis=1)), rtol=0.12)
    if name == WHITE:
        assert found[-1] / found[0] == pytest.approx(np.sqrt(clean[0, -24] / clean[0, 24]), rel=0.1)


@pytest.mark.parametrize("protocol", protocols(DETECTORS))
def test_every_protocol_has_the_noise_asked_for_after_its_step(protocol: str, xray: FloatImage) -> None:
    name, step = parse_protocol(protocol, DETECTORS)
    shots = [expose(xray, DETECTORS[name], step, 5.0, np.random.default_rng(seed)) for seed in (7, 7, 8)]
    np.testing.assert_array_equal(shots[0].noisy, shots[1].noisy)
    assert (shots[0].noisy != shots[2].noisy).mean() > 0.9
    noise = [(shot.noisy - shot.clean).astype(np.float64) for shot in shots]
    assert 255 * noise[0].std() == pytest.approx(5, rel=0.06)
    assert shots[0].noisy.dtype == shots[0].clean.dtype == np.float32
    assert shots[0].told.spectrum.shape == shots[0].noisy.shape
    assert shots[0].told.spectrum.mean() == pytest.approx(1)
    drawn = noise_field(shots[0].told.spectrum, np.random.default_rng(0))
    for axis in (0, 1):
        assert correlation(noise[0], axis) == pytest.approx(correlation(drawn, axis), abs=0.06)


def test_steps_change_image_and_noise_as_they_say(xray: FloatImage) -> None:
    canon = DETECTORS["canon_dr_chest"]
    shots = {step: expose(xray, canon, step, 5.0, np.random.default_rng(0)) for step in STEPS}
    assert {step: shot.clean.shape for step, shot in shots.items()} == {
        "": (256, 256),
        "unsharp": (256, 256),
        "half": (256, 256),
        "enlarged4": (512, 512),
    }
    near = {step: correlation(shot.noisy - shot.clean, 1) for step, shot in shots.items()}
    assert near["half"] < near[""] - 0.03, "halving whitens"
    assert near["unsharp"] < near[""] - 0.03, "so does sharpening"
    assert near["enlarged4"] > 0.9
    fine = {step: float(cv2.Laplacian(shot.clean, cv2.CV_32F).std()) for step, shot in shots.items()}
    assert fine["unsharp"] > 1.5 * fine[""] > 3 * fine["enlarged4"]
    assert psnr(shots["half"].clean, xray) > 40


def test_unknown_protocols_and_levels_are_named() -> None:
    assert parse_protocol("white+half", DETECTORS) == ("white", "half")
    for protocol in ("whyte", "white+", "white+thrice", "+half", ""):
        with pytest.raises(UsageError, match=r"is none of white, canon_dr_chest"):
            parse_protocol(protocol, DETECTORS)
    assert read_sds("8,3") == [8.0, 3.0]
    for text in ("", "8,", "eight", "-1", "0", "nan", "256"):
        with pytest.raises(UsageError, match="no list of gray levels"):
            read_sds(text)


@pytest.mark.parametrize("name", ["canon_dr_chest", "fuji_cr_hip", WHITE])
def test_the_stabilised_image_has_noise_of_1_at_every_brightness(name: str) -> None:
    clean = np.tile(np.linspace(0.15, 0.85, 384, dtype=np.float32), (384, 1))
    shot = expose(clean, DETECTORS[name], "", 3.0, np.random.default_rng(0))
    forward, inverse = stabilisers(shot.told.curve)
    np.testing.assert_allclose(inverse(forward(clean)), clean, atol=1e-4)
    stable = (forward(shot.noisy) - forward(clean)).reshape(384, 8, 48).std(axis=(0, 2))
    np.testing.assert_allclose(stable, 1, atol=0.12)
