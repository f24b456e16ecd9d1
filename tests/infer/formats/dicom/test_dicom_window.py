"""Values outside the window, and which end of the values is white."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer import denoise, load_model
from cxr_infer.formats.dicom.grayscale import CONTRADICTION, INVERTED
from cxr_infer.formats.dicom.optional import read_dicom
from cxr_infer.formats.picture import Picture
from cxr_infer.formats.radiograph import Provenance
from cxr_infer.formats.readers import read_picture
from cxr_infer.formats.tiff.writer import encode_tiff
from cxr_infer.settings import ReadOptions, Settings
from tests.infer.formats.dicom.dicom_files import (
    PATH,
    PROVENANCE,
    RAMP,
    computed,
    digital,
    encoded,
    lookup_table,
    read,
    read_set,
    result,
    stored,
)

GRAY_LEVEL = 4095 / 255
WINDOWS: dict[str, dict[str, Any]] = {
    "narrow": {"WindowCenter": 1800, "WindowWidth": 2400},
    "of the dark half": {"WindowCenter": 1100, "WindowWidth": 1200},
    "exact": {"WindowCenter": 1800, "WindowWidth": 2400, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": 1800, "WindowWidth": 1200, "VOILUTFunction": "SIGMOID"},
    "LUT": {"VOILUTSequence": [lookup_table(0, 12, np.clip((np.arange(4096) - 600) * 1.7, 0, 4095).round())]},
    "LUT of a part": {"VOILUTSequence": [lookup_table(700, 12, np.linspace(0, 4095, 2000).round())]},
}


def rms(error: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(error**2)))


@pytest.mark.parametrize("mono1", [False, True])
@pytest.mark.parametrize("kind", WINDOWS)
def test_values_outside_the_window_are_denoised_too(
    kind: str, mono1: bool, clean: NDArray[np.float32], noisy: NDArray[np.float32]
) -> None:
    before = stored(noisy, 12, mono1=mono1)
    radiograph = read_set(computed(before, 12, mono1, **WINDOWS[kind]))
    after = radiograph.restored(np.asarray(denoise(radiograph.unit(), "window"), dtype=np.float32)).pixels
    truth = stored(clean, 12, mono1=mono1).astype(float)
    shown = radiograph.scale.shown[np.clip(truth, 0, 4095).astype(int)]
    outside = (shown <= 0.005) | (shown >= 0.995)
    assert outside.mean() > 0.05
    assert radiograph.outside_window is not None
    for part in (outside, ~outside):
        error = (after - truth)[part]
        assert rms(error) < 0.5 * rms((before - truth)[part])
        assert abs(error.mean()) < 2 * GRAY_LEVEL


def test_the_gray_table_extends_to_the_images_own_range_only() -> None:
    pixels = stored(0.1 + 0.6 * RAMP, 12)
    radiograph = read_set(computed(pixels, 12, WindowCenter=1200.5, WindowWidth=1001))
    assert len(np.unique(radiograph.unit())) == len(np.unique(pixels)), "every stored value has a gray of its own"
    np.testing.assert_allclose([radiograph.unit().min(), radiograph.unit().max()], [0, 1], atol=1e-6)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=1e-3)
    expected = np.clip((pixels - 700.0) / 1000, 0, 1)
    np.testing.assert_allclose(radiograph.shown(), expected, atol=1e-6)
    assert radiograph.outside_window == pytest.approx(np.mean((expected < 1 / 510) | (expected > 1 - 1 / 510)))
    assert radiograph.stretch == pytest.approx((pixels.max() - pixels.min()) / 1000, rel=1e-3)
    again = radiograph.restored(radiograph.unit())
    np.testing.assert_array_equal(again.pixels, pixels)


def test_values_far_outside_the_window_get_few_grays() -> None:
    """Direct exposure lies ten window widths away; the window keeps at least a third of the grays."""
    pixels = stored(0.1 + 0.05 * RAMP, 16)
    pixels[:, :3] = 40_000
    low, high = int(pixels.min()), int(pixels[:, 3:].max())
    window = {"WindowCenter": (low + high) / 2, "WindowWidth": high - low}
    radiograph = read_set(computed(pixels, 16, mono1=True, **window))
    assert np.ptp(radiograph.unit()[:, 3:]) > 0.33
    assert radiograph.unit()[0, 0] == 0
    assert radiograph.stretch == pytest.approx(3)
    np.testing.assert_array_equal(radiograph.restored(radiograph.unit()).pixels, pixels)


def test_a_window_wider_than_the_image_is_unchanged() -> None:
    radiograph = read_set(computed(stored(0.4 + 0.2 * RAMP, 12), 12, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(radiograph.unit(), 0.4 + 0.2 * RAMP, atol=1e-3)
    assert (radiograph.stretch, radiograph.outside_window) == (1, 0)
    assert read_set(computed(stored(RAMP, 12), 12)).outside_window is None


@pytest.mark.parametrize(
    ("mono1", "shape", "inverted", "notes"),
    [
        (False, None, False, ()),
        (False, "IDENTITY", False, ()),
        (True, None, True, ()),
        (True, "INVERSE", True, ()),
        (False, "INVERSE", True, (CONTRADICTION,)),
        (True, "IDENTITY", True, (CONTRADICTION,)),
    ],
)
def test_photometric_interpretation_and_lut_shape_decide_what_is_white(
    mono1: bool, shape: str | None, inverted: bool, notes: tuple[str, ...]
) -> None:
    radiograph = read_set(computed(stored(RAMP, 12), 12, mono1, PresentationLUTShape=shape))
    np.testing.assert_allclose(radiograph.unit(), 1 - RAMP if inverted else RAMP, atol=1e-3)
    assert (radiograph.inverted, radiograph.notes) == (inverted, notes)


@pytest.mark.parametrize("processing", [False, True])
@pytest.mark.parametrize("mono1", [False, True])
def test_a_file_with_wrong_polarity_can_be_inverted(mono1: bool, processing: bool) -> None:
    content = encoded(digital(stored(RAMP, 12, mono1=mono1), 12, mono1, processing))
    as_it_says, other = read(content), read(content, ReadOptions(invert=True))
    np.testing.assert_allclose(other.unit(), 1 - as_it_says.unit(), atol=1e-6)
    assert other.inverted is not as_it_says.inverted
    assert INVERTED in other.notes
    np.testing.assert_array_equal(other.restored(other.unit()).pixels, as_it_says.pixels)
    assert result(other).PhotometricInterpretation == result(as_it_says).PhotometricInterpretation
    assert result(other).SOPInstanceUID != result(as_it_says).SOPInstanceUID


def test_a_picture_can_be_inverted() -> None:
    for pixels in (stored(RAMP, 8), stored(RAMP, 16), RAMP.astype(np.float32) ** 3):
        content = Picture(pixels, encode_tiff).encode()
        as_it_says = read_picture(PATH, content, ReadOptions(), ".tif")
        other = read_picture(PATH, content, ReadOptions(invert=True), ".tif")
        np.testing.assert_allclose(other.unit(), 1 - as_it_says.unit(), atol=1e-6)
        np.testing.assert_array_equal(other.restored(other.unit()).pixels, pixels)
        darker = other.restored(other.unit() * np.float32(0.5))
        assert (darker.pixels >= pixels).all()
        assert (as_it_says.inverted, other.inverted) == (False, True)


def test_strength_0_leaves_every_pixel_unchanged(noisy: NDArray[np.float32]) -> None:
    pixels = stored(noisy, 12)
    settings = Settings(strength=0)
    for window in WINDOWS.values():
        radiograph = read_dicom(PATH, encoded(computed(pixels, 12, **window)), ReadOptions())
        same = radiograph.restored(load_model("window").denoise_unit(radiograph.unit(), settings))
        np.testing.assert_array_equal(same.pixels, pixels)
        provenance = Provenance(PROVENANCE.version, PROVENANCE.model, PROVENANCE.sha256, settings)
        np.testing.assert_array_equal(result(same, provenance).pixel_array, pixels)
