from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxr_infer import denoise
from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.grayscale import BAD_WINDOW, LOW_RANGE, OWN_LOG_RANGE, OWN_RANGE, window
from cxr_infer.formats.dicom.lookup import SHORT
from cxr_infer.imaging.metrics import psnr
from tests.infer.formats.dicom.dicom_files import (
    RAMP,
    computed,
    digital,
    encoded,
    lookup_table,
    lowest,
    read_set,
    refusal,
    result,
    secondary,
    stored,
)

reproducible = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def gray_images(draw: st.DrawFn) -> Dataset:
    """A small CR or DX of any photometric interpretation, sign, depth, rescale, window and padding."""
    bits, signed, mono1 = draw(st.integers(8, 16)), draw(st.booleans()), draw(st.booleans())
    first, last = lowest(bits, signed), lowest(bits, signed) + (1 << bits) - 1
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(first, last + 1, (9, 11))
    pixels = pixels.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    attributes: dict[str, Any] = {"WindowCenter": None, "WindowWidth": None}
    if draw(st.booleans()):
        attributes |= {
            "RescaleSlope": draw(st.sampled_from([1, 0.25, -2.5])),
            "RescaleIntercept": -100,
            "RescaleType": "US",
        }
    kind = draw(st.sampled_from(["none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "lut"]))
    if kind == "lut":
        entries = sorted(draw(st.lists(st.integers(0, 4095), min_size=2, max_size=40)))
        attributes["VOILUTSequence"] = [lookup_table(draw(st.integers(0, 200)), 12, entries)]
    elif kind != "none":
        attributes |= {"WindowCenter": draw(st.integers(first, last)), "WindowWidth": draw(st.integers(-1, 1 << bits))}
        attributes["VOILUTFunction"] = kind
    if draw(st.booleans()):
        ends = draw(st.tuples(st.integers(first, last), st.integers(first, last)))
        assume(((pixels < min(ends)) | (pixels > max(ends))).any())  # otherwise padding covers the whole image
        attributes |= {"PixelPaddingValue": ends[0], "PixelPaddingRangeLimit": ends[1]}
    relationship = draw(st.sampled_from(["LIN", "LOG"]))
    if draw(st.booleans()):
        return digital(pixels, bits, mono1, processing=True, PixelIntensityRelationship=relationship, **attributes)
    return computed(pixels, bits, mono1, **attributes)


@reproducible
@given(gray_images())
def test_unchanged_pixels_are_restored_bit_exact(dataset: Dataset) -> None:
    radiograph = read_set(dataset)
    same = radiograph.restored(radiograph.unit())
    np.testing.assert_array_equal(same.pixels, radiograph.pixels)
    assert same.pixels.dtype == radiograph.pixels.dtype
    assert result(same).PixelData == dataset.PixelData


@reproducible
@given(gray_images())
def test_unit_is_monotone_and_in_range(dataset: Dataset) -> None:
    radiograph = read_set(dataset)
    unit = radiograph.unit()
    assert unit.dtype == np.float32
    assert unit.shape == radiograph.pixels.shape
    assert unit.min() >= 0
    assert unit.max() <= 1
    padding = radiograph.scale.padding
    shown = np.ones(unit.shape, bool) if padding is None else ~padding.covers(radiograph.pixels)
    assert not unit[~shown].any()
    steps = np.diff(unit[shown][np.argsort(radiograph.pixels[shown], kind="stable")])
    assert (steps >= 0).all() or (steps <= 0).all()


@reproducible
@given(gray_images(), st.integers(0, 99))
def test_any_model_output_can_be_stored_and_padding_is_kept(dataset: Dataset, seed: int) -> None:
    radiograph = read_set(dataset)
    denoised = np.random.default_rng(seed).random(radiograph.pixels.shape, dtype=np.float32)
    restored = radiograph.restored(denoised)
    layout, padding = radiograph.source.layout, radiograph.scale.padding
    assert restored.pixels.min() >= layout.lowest
    assert restored.pixels.max() <= layout.highest
    if padding is not None:
        np.testing.assert_array_equal(padding.covers(restored.pixels), padding.covers(radiograph.pixels))
        covered = padding.covers(radiograph.pixels)
        np.testing.assert_array_equal(restored.pixels[covered], radiograph.pixels[covered])
    np.testing.assert_array_equal(result(restored).pixel_array, restored.pixels)


@pytest.mark.parametrize("mono1", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_bone_is_white_and_denoised_grays_are_stored_faithfully(bits: int, signed: bool, mono1: bool) -> None:
    radiograph = read_set(digital(stored(RAMP, bits, signed, mono1), bits, mono1))
    assert radiograph.bits == bits
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=0.51 / ((1 << bits) - 1) + 1e-7)
    turned = radiograph.restored(np.ascontiguousarray(RAMP[::-1, ::-1], dtype=np.float32))
    np.testing.assert_allclose(turned.unit(), RAMP[::-1, ::-1], atol=2 / ((1 << bits) - 1))


def test_monochrome1_is_the_inverse_of_monochrome2() -> None:
    pixels = stored(RAMP, 12)
    attributes = {"WindowCenter": 1900, "WindowWidth": 1500}
    one, two = (read_set(computed(pixels, 12, mono1, **attributes)).unit() for mono1 in (True, False))
    np.testing.assert_allclose(one, 1 - two, atol=1e-6)


def test_window_functions_match_the_numbers_of_the_standard() -> None:
    values = np.array([-1000.0, 0, 2047.5, 4095, 5000])
    # PS3.3 C.11.2.1.2.1: center 2048 and width 4096 are the identity of 12 bits
    np.testing.assert_allclose(window(values, 2048, 4096), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(window(values, 2048, 4096, "LINEAR_EXACT")[2:4], [2047.5 / 4096, 4095 / 4096])
    np.testing.assert_allclose(
        window(np.array([10.0, 20, 30]), 20, 40, "SIGMOID"), [1 / (1 + np.e), 0.5, np.e / (1 + np.e)]
    )
    np.testing.assert_array_equal(window(np.array([-1.0, 0, 1]), 0.5, 1), [0, 0.5, 1])


def test_the_gray_range_is_that_of_the_window_the_bits_or_the_image() -> None:
    pixels = stored(0.25 + 0.5 * RAMP, 12)
    cases: list[tuple[Dataset, tuple[str, ...], tuple[float, float]]] = [
        (computed(pixels, 12), (), (0.25, 0.75)),
        (computed(pixels, 12, WindowCenter=[2048, 9], WindowWidth=[2048, 9]), (), (0, 1)),
        (computed(pixels, 12, WindowCenter=2048, WindowWidth=1), (BAD_WINDOW,), (0, 1)),
        (computed(pixels, 12, WindowCenter=9000, WindowWidth=100), (BAD_WINDOW,), (0, 1)),
        (computed(stored(0.2 * RAMP, 12), 12), (LOW_RANGE,), (0, 1)),
        (computed(pixels, 12, PixelIntensityRelationship="LOG"), (OWN_RANGE,), (0, 1)),
        (digital(pixels, 12, processing=True), (OWN_RANGE,), (0, 1)),
        (computed(pixels * 0 + 7, 12), (), (7 / 4095, 7 / 4095)),
    ]
    for dataset, notes, (least, largest) in cases:
        radiograph = read_set(dataset)
        assert radiograph.notes == notes
        np.testing.assert_allclose([radiograph.unit().min(), radiograph.unit().max()], [least, largest], atol=1e-3)


def test_dead_pixels_do_not_stretch_an_images_own_range() -> None:
    pixels = stored(0.4 + 0.2 * np.tile(RAMP, (5, 5)), 14)
    pixels[0, 0], pixels[1, 1] = 0, (1 << 14) - 1
    unit = read_set(digital(pixels, 14, processing=True)).unit()
    assert np.quantile(unit, 0.05) < 0.2
    assert np.quantile(unit, 0.95) > 0.8


@pytest.mark.parametrize("sign", [1, -1])
def test_values_linear_in_intensity_are_shown_on_a_log_scale(sign: int) -> None:
    thickness = RAMP * 4  # of the body, in attenuation lengths
    counts = np.rint(10000 * np.exp(-thickness))
    pixels = (counts if sign > 0 else 16383 - counts).astype(np.uint16)
    attributes = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": sign}
    radiograph = read_set(digital(pixels, 14, processing=True, **attributes))
    assert radiograph.notes == (OWN_LOG_RANGE,)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=0.01)


def test_valid_voi_luts_are_applied_and_invalid_ones_are_not() -> None:
    pixels = stored(RAMP, 12)
    lut = lookup_table(0, 16, np.linspace(0, 1, 4096) ** 2 * 65535)
    radiograph = read_set(computed(pixels, 12, VOILUTSequence=[lut], WindowCenter=5, WindowWidth=5))
    np.testing.assert_allclose(radiograph.unit(), RAMP**2, atol=1e-3)
    lut.LUTData = [*range(0, 60000, 20), *range(60000, 60000 - 1096, -1)]
    assert read_set(computed(pixels, 12, VOILUTSequence=[lut])).notes == (BAD_WINDOW,)
    lut.LUTData = [1, 2, 3]
    assert read_set(computed(pixels, 12, VOILUTSequence=[lut])).notes == (SHORT.format("VOILUTSequence"),)
    lut.ModalityLUTType = "US"
    assert "fewer entries" in refusal(encoded(computed(pixels, 12, ModalityLUTSequence=[lut])))
    flat = lookup_table(0, 12, [7] * 4096)
    flat.ModalityLUTType = "US"
    assert "same value" in refusal(encoded(computed(pixels, 12, ModalityLUTSequence=[flat])))


def test_modality_luts_are_applied() -> None:
    lut = lookup_table(0, 16, range(65535, -1, -257))
    lut.ModalityLUTType = "US"
    radiograph = read_set(secondary(stored(RAMP, 8), 8, ModalityLUTSequence=[lut]))
    np.testing.assert_allclose(radiograph.unit(), 1 - RAMP, atol=1 / 255)


def test_a_negative_padding_value_stored_as_unsigned_is_understood() -> None:
    pixels = stored(RAMP, 12, signed=True)
    pixels[:4] = -2000
    dataset = computed(pixels, 12, PixelPaddingValue=-2000)
    dataset["PixelPaddingValue"].VR = "US"
    dataset["PixelPaddingValue"].value = 65536 - 2000
    radiograph = read_set(dataset)
    np.testing.assert_array_equal(radiograph.restored(radiograph.unit() * 0.5).pixels[:4], -2000)


@reproducible
@given(*[st.floats(-1e300, 1e300, allow_subnormal=False).map(lambda number: f"{number:.6g}")] * 4, st.booleans())
def test_extreme_numbers_are_applied_or_refused_without_overflow(
    slope: str, intercept: str, center: str, width: str, sigmoid: bool
) -> None:
    """The warnings filter of these tests turns every overflow into an exception."""
    attributes = {"RescaleSlope": slope, "RescaleIntercept": intercept, "WindowCenter": center, "WindowWidth": width}
    dataset = computed(stored(RAMP, 12), 12, VOILUTFunction="SIGMOID" if sigmoid else "LINEAR", **attributes)
    try:
        radiograph = read_set(dataset)
    except ImageError as error:
        problem = str(error)
        assert "not a valid number" in problem or "same value" in problem
        return
    np.testing.assert_array_equal(radiograph.restored(radiograph.unit()).pixels, radiograph.pixels)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_bits_above_the_stored_ones_are_masked_and_preserved(dtype: str) -> None:
    pixels = stored(RAMP, 12, signed=dtype == "int16")
    overlay = (np.arange(pixels.size) % 3 == 0).reshape(pixels.shape).astype(np.uint16) << 15
    dataset = computed(pixels, 12, WindowCenter=2048 if dtype == "uint16" else 0, WindowWidth=4096)
    words = (pixels.view(np.uint16) & 0x0FFF) | overlay
    dataset.PixelData = words.tobytes()
    radiograph = read_set(dataset)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    darker = radiograph.restored(radiograph.unit() * np.float32(0.9))
    written = np.frombuffer(result(darker).PixelData, np.uint16).reshape(pixels.shape)
    np.testing.assert_array_equal(written & 0xF000, overlay)
    np.testing.assert_array_equal(written & 0x0FFF, darker.pixels.view(np.uint16) & 0x0FFF)


def test_values_in_the_upper_bits_of_a_word_are_read_and_written_there() -> None:
    pixels = stored(RAMP, 12)
    dataset = computed(pixels, 12, HighBit=15)
    dataset.PixelData = (pixels << 4).tobytes()
    radiograph = read_set(dataset)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert result(radiograph).PixelData == dataset.PixelData


def test_mottle_is_removed_from_a_monochrome1_dx(clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> None:
    radiograph = read_set(digital(stored(noisy, 12, mono1=True), 12, mono1=True))
    restored = radiograph.restored(np.asarray(denoise(radiograph.unit(), "window"), dtype=np.float32))
    assert psnr(clean, restored.unit()) > psnr(clean, radiograph.unit()) + 8


def test_linear_detector_counts_are_denoised_on_a_log_scale(clean: NDArray[np.float32]) -> None:
    intensity = np.exp(-3 * clean)
    photons = np.random.default_rng(1).poisson(300 * intensity)
    counts, expected = ((16000 * values).astype(np.uint16) for values in (np.minimum(photons / 300, 1), intensity))
    gains = []
    for relationship in ("LIN", "LOG"):
        attributes = {"PixelIntensityRelationship": relationship, "PixelIntensityRelationshipSign": 1}
        radiograph = read_set(digital(counts, 14, processing=True, **attributes))
        restored = radiograph.restored(np.asarray(denoise(radiograph.unit(), "window"), dtype=np.float32))
        seen = [np.log(np.maximum(image, 100)) / 5 for image in (expected, counts, restored.pixels)]
        gains.append(psnr(seen[0], seen[2]) - psnr(seen[0], seen[1]))
    assert gains[0] > 9
    assert gains[0] > gains[1] + 1.5  # the network copes with other noise curves too, though less well


def test_an_8_bit_secondary_capture_equals_the_same_picture(noisy_bytes: NDArray[np.uint8]) -> None:
    unit = read_set(secondary(noisy_bytes, 8)).unit()
    np.testing.assert_allclose(unit, noisy_bytes / np.float32(255), atol=1e-7)
