from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.detector_noise import STEPS, expose, parse_protocol
from benchmarks.detectors import protocols, read_sds
from cxr_infer.errors import UsageError
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.noise import WHITE_NOISE, load_detectors, noise_field

DETECTORS = load_detectors()


@pytest.fixture(scope="module")
def xray() -> FloatImage:
    """A phantom without pixels near black or white, so that clipping removes no noise."""
    return np.asarray(0.25 + 0.5 * render_phantom(2, 256), dtype=np.float32)


def correlation(noise: NDArray[np.floating], axis: int) -> float:
    a, b = (np.take(noise, range(start, noise.shape[axis] - 1 + start), axis) for start in (0, 1))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("name", list(DETECTORS))
def test_noise_follows_the_requested_curve(name: str) -> None:
    clean = np.tile(np.linspace(0.15, 0.75, 384, dtype=np.float32), (384, 1))
    shot = expose(clean, DETECTORS[name], "", 4.0, np.random.default_rng(0))
    np.testing.assert_array_equal(shot.clean, clean)
    noise = (shot.noisy - clean).astype(np.float64)
    assert 255 * noise.std() == pytest.approx(4, rel=0.05)
    found = noise.reshape(384, 8, 48).std(axis=(0, 2))
    asked = np.interp(clean[0], *shot.told.curve.T).reshape(8, 48)
    np.testing.assert_allclose(found, np.sqrt((asked**2).mean(axis=1)), rtol=0.12)
    if name == WHITE_NOISE:
        assert found[-1] / found[0] == pytest.approx(np.sqrt(clean[0, -24] / clean[0, 24]), rel=0.1)


@pytest.mark.parametrize("protocol", protocols(DETECTORS))
def test_every_protocol_has_the_requested_noise_after_its_step(protocol: str, xray: FloatImage) -> None:
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


@pytest.mark.parametrize("sd", [8.0, 3.0])
@pytest.mark.parametrize("protocol", protocols(DETECTORS))
def test_the_estimate_is_within_10_percent_for_every_protocol(protocol: str, sd: float) -> None:
    """The image has no grain of its own, which could not be distinguished from added noise."""
    clean = np.asarray(0.25 + 0.5 * render_phantom(2, 512), dtype=np.float32)
    name, step = parse_protocol(protocol, DETECTORS)
    shot = expose(clean, DETECTORS[name], step, sd, np.random.default_rng(0))
    found = estimate_mottle(shot.noisy)
    assert found.sure
    assert found.gray_levels == pytest.approx(255 * float(np.std(shot.noisy - shot.clean)), rel=0.1)


def test_steps_change_image_and_noise_as_documented(xray: FloatImage) -> None:
    canon = DETECTORS["canon_dr_chest"]
    shots = {step: expose(xray, canon, step, 5.0, np.random.default_rng(0)) for step in STEPS}
    assert {step: shot.clean.shape for step, shot in shots.items()} == {
        "": (256, 256),
        "unsharp": (256, 256),
        "half": (256, 256),
        "enlarged4": (512, 512),
    }
    near = {step: correlation(shot.noisy - shot.clean, 1) for step, shot in shots.items()}
    assert near["half"] < near[""] - 0.03, "halving whitens the noise"
    assert near["unsharp"] < near[""] - 0.03, "so does sharpening"
    assert near["enlarged4"] > 0.9
    fine = {step: float(cv2.Laplacian(shot.clean, cv2.CV_32F).std()) for step, shot in shots.items()}
    assert fine["unsharp"] > 1.5 * fine[""] > 3 * fine["enlarged4"]
    assert psnr(shots["half"].clean, xray) > 40


def test_unknown_protocols_and_levels_are_named() -> None:
    assert parse_protocol("white+half", DETECTORS) == ("white", "half")
    for protocol in ("whyte", "white+", "white+thrice", "+half", ""):
        with pytest.raises(UsageError, match=r"use white, canon_dr_chest"):
            parse_protocol(protocol, DETECTORS)
    assert read_sds("8,3") == [8.0, 3.0]
    for text in ("", "8,", "eight", "-1", "0", "nan", "256"):
        with pytest.raises(UsageError, match="is invalid; use gray levels above 0"):
            read_sds(text)
