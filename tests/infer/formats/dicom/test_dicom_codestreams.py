"""Compressed images of other programs: the meaning of their bits, and flaws that DCMTK and GDCM tolerate."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, RLELossless

from cxr_infer.formats.dicom.codestream import BOXES, NO_END, OFFSETS, PADDED_RUNS, SE_ZERO
from cxr_infer.formats.dicom.pixel_data import CLIPPED
from tests.infer.formats.dicom.dicom_files import (
    RAMP,
    computed,
    encapsulated,
    encoded,
    read,
    refusal,
    result,
    secondary,
    stored,
)
from tests.infer.formats.dicom.jpeg_files import lossless_jpeg

GRAY = 2  # photometric interpretation, for openjpeg


def even(frame: bytes) -> bytes:
    return frame + b"\0" * (len(frame) % 2)


def jpeg_2000(pixels: NDArray[np.integer], bits: int, container: int = 0, **options: object) -> bytes:
    """A JPEG 2000 codestream, or with container 1 a JP2 file."""
    coded = encode_array(pixels, bits_stored=bits, photometric_interpretation=GRAY, codec_format=container, **options)
    return even(coded)


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return even(stream.getvalue())


def test_wrapped_differences_give_the_true_pixels() -> None:
    pixels = stored(np.random.default_rng(0).random((40, 36)), 12)
    frame = even(lossless_jpeg(pixels, 12, wraps=True))
    radiograph = read(encapsulated(computed(pixels, 12), JPEGLossless, frame))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    np.testing.assert_array_equal(result(radiograph).pixel_array, pixels)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGBaseline8Bit, JPEG2000Lossless])
def test_the_codestream_rather_than_the_syntax_selects_the_decoder(syntax: UID) -> None:
    pixels = stored(RAMP, 8)
    for frame in (even(lossless_jpeg(pixels, 8)), jpeg_2000(pixels, 8)):
        np.testing.assert_array_equal(read(encapsulated(secondary(pixels, 8), syntax, frame)).pixels, pixels)


@pytest.mark.parametrize("bits", [8, 9, 12])
def test_a_codestream_of_fewer_bits_than_the_word_is_read(bits: int) -> None:
    pixels = stored(RAMP, bits).astype(np.uint16)
    for frame in (even(lossless_jpeg(pixels, bits)), jpeg_2000(pixels, bits)):
        np.testing.assert_array_equal(read(encapsulated(secondary(pixels, bits), JPEGLossless, frame)).pixels, pixels)


def test_values_beyond_bits_stored_are_clipped_and_never_masked() -> None:
    values = np.array([[0, 1023, 1024], [1100, 2047, 512]], np.uint16).repeat(32, 0).repeat(32, 1)
    for frame in (even(lossless_jpeg(values, 12)), jpeg_2000(values, 11), jpeg_2000(values, 16)):
        radiograph = read(encapsulated(computed(np.minimum(values, 1023), 10), JPEGExtended12Bit, frame))
        np.testing.assert_array_equal(radiograph.pixels, np.minimum(values, 1023))
        assert CLIPPED in radiograph.notes
        np.testing.assert_array_equal(result(radiograph).pixel_array, np.minimum(values, 1023))


def test_overshooting_white_in_a_12_bit_jpeg_stays_white() -> None:
    """A flat 12-bit JPEG Extended image, built by hand: every pixel is 1030 where 10 bits are stored."""
    frame = flat_extended_jpeg(1030)
    radiograph = read(encapsulated(computed(np.zeros((8, 8), np.uint16), 10), JPEGExtended12Bit, frame))
    np.testing.assert_array_equal(radiograph.pixels, 1023)
    assert result(radiograph).LossyImageCompression == "01"


def flat_extended_jpeg(value: int) -> bytes:
    """A 12-bit JPEG Extended image of 8x8 pixels of that value (T.81: DC is 8 times the mean minus 2048)."""
    frame = b"\xff\xd8\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([8] * 64)
    frame += b"\xff\xc1" + struct.pack(">HBHHB3B", 11, 12, 8, 8, 1, 1, 0x11, 0)
    for table in (0x00, 0x10):  # DC: codes of 4 bits for categories 0 to 14; AC: one code, the end of the block
        counts = bytes([0, 0, 0, 15] + [0] * 12) if table == 0 else bytes([1] + [0] * 15)
        symbols = bytes(range(15)) if table == 0 else bytes(1)
        frame += b"\xff\xc4" + struct.pack(">HB", 19 + len(symbols), table) + counts + symbols
    coefficient = value - 2048
    size = abs(coefficient).bit_length()
    extra = coefficient if coefficient > 0 else coefficient + (1 << size) - 1
    bits = f"{size:04b}{extra:0{size}b}0"
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return even(frame + b"\xff\xda" + bytes([0, 8, 1, 1, 0, 0, 63, 0]) + data + b"\xff\xd9")


@pytest.mark.parametrize("precision", [12, 16])
def test_signed_values_are_twos_complement_in_the_bits_of_a_codestream(precision: int) -> None:
    pixels = stored(RAMP, 12, signed=True)
    patterns = pixels.view(np.uint16) & np.uint16((1 << precision) - 1)
    for frame in (
        even(lossless_jpeg(patterns, precision)),
        jpeg_2000(patterns, precision),
        jpeg_2000(pixels, precision),
    ):
        np.testing.assert_array_equal(read(encapsulated(computed(pixels, 12), JPEGLossless, frame)).pixels, pixels)
    short = even(lossless_jpeg(pixels.view(np.uint16) & np.uint16(0x0FFF), 16))
    np.testing.assert_array_equal(read(encapsulated(computed(pixels, 12), JPEGLossless, short)).pixels, pixels)


def test_declared_overlays_in_codestream_words_are_not_values() -> None:
    pixels = stored(RAMP, 12)
    words = pixels | ((np.arange(pixels.size).reshape(pixels.shape) % 3 == 0).astype(np.uint16) << 13)
    dataset = computed(pixels, 12)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 13)
    radiograph = read(encapsulated(dataset, JPEG2000Lossless, jpeg_2000(words, 16)))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert result(radiograph).PixelData == words.tobytes()


def test_values_in_the_upper_bits_of_codestream_words_are_read() -> None:
    pixels = stored(RAMP, 12)
    frame = jpeg_2000(pixels << 4, 16)
    radiograph = read(encapsulated(computed(pixels, 12, HighBit=15), JPEG2000Lossless, frame))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert result(radiograph).PixelData == (pixels << 4).tobytes()


@pytest.mark.parametrize("end", [0, 10, 62])
def test_a_sequential_jpeg_with_a_wrong_spectral_end_is_read(end: int) -> None:
    pixels = stored(RAMP, 8)
    whole = jpeg(pixels)
    start = whole.index(b"\xff\xda")
    frame = whole[: start + 8] + bytes([end]) + whole[start + 9 :]
    expected = read(encapsulated(secondary(pixels, 8), JPEGBaseline8Bit, whole))
    radiograph = read(encapsulated(secondary(pixels, 8), JPEGBaseline8Bit, frame))
    np.testing.assert_array_equal(radiograph.pixels, expected.pixels)
    assert (expected.notes, radiograph.notes) == ((), (SE_ZERO,))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEG2000])
def test_jp2_boxes_around_a_codestream_are_skipped(syntax: UID) -> None:
    pixels = stored(RAMP, 12)
    frame = jpeg_2000(pixels, 12, container=1)
    assert frame[4:8] == b"jP  "
    radiograph = read(encapsulated(computed(pixels, 12), syntax, frame))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.notes == (BOXES,)
    for end in range(4, len(frame) - 8, 97):
        message = refusal(encapsulated(computed(pixels, 12), syntax, even(frame[:end])))
        assert "compressed" in message or "pixel data" in message


def test_an_irreversible_wavelet_is_recorded_as_lossy() -> None:
    pixels = stored(RAMP, 12)
    lossy = encapsulated(computed(pixels, 12), JPEG2000, jpeg_2000(pixels, 12, compression_ratios=[5]))
    assert result(read(lossy)).LossyImageCompressionMethod == "ISO_15444_1"
    lossless = encapsulated(computed(pixels, 12), JPEG2000, jpeg_2000(pixels, 12))
    assert "LossyImageCompression" not in result(read(lossless))


def in_fragments(dataset: Dataset, frame: bytes, offsets: list[int], count: int = 5) -> bytes:
    """A file of one frame in several fragments, with that offset table."""
    size = len(frame) // count // 2 * 2
    fragments = [frame[i * size : (i + 1) * size if i < count - 1 else None] for i in range(count)]
    item = struct.Struct("<HHI")
    table = item.pack(0xFFFE, 0xE000, 4 * len(offsets)) + struct.pack(f"<{len(offsets)}I", *offsets)
    value = table + b"".join(item.pack(0xFFFE, 0xE000, len(part)) + part for part in fragments)
    whole = encapsulated(dataset, JPEG2000Lossless, b"\0\0")
    placeholder = item.pack(0xFFFE, 0xE000, 0) + item.pack(0xFFFE, 0xE000, 2) + b"\0\0"
    placeholder_with_table = item.pack(0xFFFE, 0xE000, 4) + bytes(4) + item.pack(0xFFFE, 0xE000, 2) + b"\0\0"
    found = placeholder_with_table if placeholder_with_table in whole else placeholder
    assert whole.count(found) == 1
    return whole.replace(found, value)


@pytest.mark.parametrize("offsets", [[], [0], [0, 100, 200, 300, 400], [77], [0, 1 << 31]])
def test_offset_tables_are_ignored_for_a_single_frame(offsets: list[int]) -> None:
    pixels = stored(RAMP, 12)
    content = in_fragments(computed(pixels, 12), jpeg_2000(pixels, 12), offsets)
    radiograph = read(content)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.notes == ((OFFSETS,) if any(offsets) else ())


@pytest.mark.parametrize("ending", [b"\0" * 2, b"\0" * 5000, b"junk" * 40])
def test_bytes_after_a_codestream_are_ignored(ending: bytes) -> None:
    pixels = stored(RAMP, 8)
    for frame in (jpeg(pixels), even(lossless_jpeg(pixels, 8)), jpeg_2000(pixels, 8)):
        expected = read(encapsulated(secondary(pixels, 8), JPEGBaseline8Bit, frame)).pixels
        content = encapsulated(secondary(pixels, 8), JPEGBaseline8Bit, frame + ending)
        np.testing.assert_array_equal(read(content).pixels, expected)


def test_a_jpeg_2000_image_without_end_marker_is_complete_or_refused() -> None:
    pixels = stored(RAMP, 12)
    frame = jpeg_2000(pixels, 12).rstrip(b"\0")
    assert frame.endswith(b"\xff\xd9")
    without = frame[:-2]
    radiograph = read(encapsulated(computed(pixels, 12), JPEG2000, even(without)))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.notes == (NO_END,)
    assert "truncated" in refusal(encapsulated(computed(pixels, 12), JPEG2000, even(without[:-40])))


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("padding", [b"\0" * 2, b"\0" * 64, b"\x80" * 7, b"\xff" * 4])
def test_padded_rle_segments_are_read(bits: int, padding: bytes) -> None:
    pixels = stored(RAMP, bits)
    plain = encoded(secondary(pixels, bits), RLELossless)
    np.testing.assert_array_equal(read(plain).pixels, pixels)
    assert read(plain).notes == ()
    radiograph = read(encapsulated(secondary(pixels, bits), RLELossless, run_lengths(pixels, padding)))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.notes == (PADDED_RUNS,)
    cut = run_lengths(pixels, b"")[:-40]
    assert "damaged" in refusal(encapsulated(secondary(pixels, bits), RLELossless, even(cut)))


def run_lengths(pixels: NDArray[np.integer], padding: bytes) -> bytes:
    """RLE of literal runs, every segment followed by padding (PS3.5, Annex G)."""
    planes = pixels.reshape(-1, 1).view(np.uint8)[:, ::-1].T
    segments, starts, at = [], [], 64
    for plane in planes:
        data = plane.tobytes()
        runs = [data[i : i + 128] for i in range(0, len(data), 128)]
        segments.append(b"".join(bytes([len(run) - 1]) + run for run in runs) + padding)
        starts.append(at)
        at += len(segments[-1])
    return even(struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(starts))) + b"".join(segments))
