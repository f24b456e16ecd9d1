"""JPEG Lossless: every depth and predictor, wrapped differences, and damaged streams."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.formats.dicom.lossless_jpeg import BYTES_AT_ONCE, DamagedJpegError, decode_lossless
from tests.infer.formats.dicom.jpeg_files import lossless_jpeg


def samples_of(bits: int, shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint16]:
    """Every kind of step: a rough half with black next to white, a smooth half."""
    rng = np.random.default_rng(seed)
    rough = rng.choice([0, (1 << bits) - 1, 1 << bits - 1], shape)
    smooth = (np.add.outer(np.arange(shape[0]), np.arange(shape[1])) * 7 + rng.integers(0, 3, shape)) % (1 << bits)
    return np.where(np.arange(shape[1]) % 8 < 4, rough, smooth).astype(np.uint16)


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", range(2, 17))
def test_every_depth_and_predictor_is_decoded_bit_exact(bits: int, predictor: int, wraps: bool) -> None:
    for shape in ((9, 17), (1, 8), (8, 1), (1, 1)):
        samples = samples_of(bits, shape)
        for shift, rows in ((0, 0), (0, 2), (1, 0)):
            kept = samples >> np.uint16(shift) << np.uint16(shift)
            stream = lossless_jpeg(kept, bits, predictor, shift=shift, rows_between_restarts=rows, wraps=wraps)
            decoded, precision = decode_lossless(stream)
            np.testing.assert_array_equal(decoded, kept)
            assert precision == bits
            assert decoded.dtype == np.uint16


def test_streams_longer_than_one_read_block_are_decoded() -> None:
    samples = np.random.default_rng(1).integers(0, 1 << 16, (300, 200)).astype(np.uint16)
    stream = lossless_jpeg(samples, 16, 4)
    assert len(stream) > 2 * BYTES_AT_ONCE
    np.testing.assert_array_equal(decode_lossless(stream)[0], samples)


def test_bytes_after_the_pixels_are_ignored() -> None:
    samples = samples_of(12, (9, 17))
    stream = lossless_jpeg(samples, 12)
    for ending in (b"", b"\0" * 999, b"\xff" * 3, stream):
        np.testing.assert_array_equal(decode_lossless(stream + ending)[0], samples)
    np.testing.assert_array_equal(
        decode_lossless(stream[:-2])[0], samples, "the pixels are complete without the end marker"
    )


@pytest.mark.parametrize("rows", [0, 3])
def test_a_stream_truncated_anywhere_is_refused(rows: int) -> None:
    stream = lossless_jpeg(samples_of(12, (9, 17)), 12, 5, rows_between_restarts=rows)
    for end in range(len(stream) - 4):
        with pytest.raises(DamagedJpegError):
            decode_lossless(stream[:end])


def test_a_damaged_stream_is_decoded_or_refused() -> None:
    rng = np.random.default_rng(2)
    stream = lossless_jpeg(samples_of(10, (9, 17)), 10, 7, rows_between_restarts=3)
    errors = 0
    for _ in range(400):
        damaged = np.frombuffer(stream, np.uint8).copy()
        damaged[rng.integers(2, len(stream), 3)] = rng.integers(0, 256, 3)
        damaged[5:9] = np.frombuffer(stream, np.uint8)[5:9]
        try:
            decode_lossless(damaged.tobytes())
        except DamagedJpegError:
            errors += 1
    assert errors > 50


@pytest.mark.parametrize("rows", [0, 3])
def test_fill_bytes_before_markers_are_not_data(rows: int) -> None:
    samples = samples_of(12, (9, 17))
    stream = lossless_jpeg(samples, 12, 2, rows_between_restarts=rows)
    filled = stream[:-2] + b"\xff" * 3 + stream[-2:]
    for marker in (b"\xff\xd0", b"\xff\xd1"):
        filled = filled.replace(marker, b"\xff" * 2 + marker)
    np.testing.assert_array_equal(decode_lossless(filled)[0], samples)


def test_millions_of_fill_bytes_are_refused() -> None:
    stream = lossless_jpeg(samples_of(12, (9, 17)), 12)
    start = stream.index(b"\xff\xda")
    with pytest.raises(DamagedJpegError):
        decode_lossless(stream[: start + 10] + b"\xff" * 5_000_000)


def test_restarts_within_a_row_are_refused() -> None:
    stream = lossless_jpeg(samples_of(8, (4, 6)), 8, rows_between_restarts=2)
    at = stream.index(b"\xff\xdd") + 4
    with pytest.raises(DamagedJpegError, match="within a row"):
        decode_lossless(stream[:at] + b"\0\x07" + stream[at + 2 :])
