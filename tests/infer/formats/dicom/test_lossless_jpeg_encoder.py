"""The JPEG Lossless encoder: its streams are decoded by our decoder and by libjpeg, at every depth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.formats.dicom.lossless_jpeg import LONGEST_CODE, decode_lossless
from cxr_infer.formats.dicom.lossless_jpeg_encoder import _code_lengths, encode_lossless

SHAPES = ((1, 1), (1, 9), (7, 1), (67, 33), (130, 40))


def images(bits: int, shape: tuple[int, int]) -> list[NDArray[np.unsignedinteger]]:
    """Noise, black, white, the largest possible steps, and a smooth image."""
    rng, most = np.random.default_rng(bits), (1 << bits) - 1
    checks = np.indices(shape).sum(axis=0) % 2 * most
    smooth = (np.cumsum(rng.integers(-2, 3, shape), axis=1) + most // 2) & most
    kinds = (rng.integers(0, most + 1, shape), np.zeros(shape, int), np.full(shape, most), checks, smooth)
    return [kind.astype(np.uint8 if bits <= 8 else np.uint16) for kind in kinds]


@pytest.mark.parametrize("bits", range(2, 17))
def test_encoded_images_are_decoded_bit_exact(bits: int) -> None:
    libjpeg = pytest.importorskip("libjpeg")
    for shape in SHAPES:
        for samples in images(bits, shape):
            stream = encode_lossless(samples, bits)
            ours, precision = decode_lossless(stream)
            np.testing.assert_array_equal(ours, samples)
            assert precision == bits
            if bits >= 8:  # the fewest bits that X-rays in DICOM have
                np.testing.assert_array_equal(libjpeg.decode(stream), samples)


def test_smooth_images_compress_well() -> None:
    smooth = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint16)
    # a difference of 1 takes two bits, one for the code and one for the sign; 64 bytes allow for the headers
    assert len(encode_lossless(smooth, 12)) < 2 * smooth.size / 8 + 64
    flat = np.full((256, 256), 77, np.uint16)
    assert len(encode_lossless(flat, 12)) < flat.size / 8 + 64


def test_no_code_is_longer_than_16_bits_nor_all_ones() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 17:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    for counts in (fibonacci, [1] * 17, [10**9] + [1] * 16, [0] * 16 + [5]):
        lengths = _code_lengths(np.array(counts))
        used = [length for length in lengths if length]
        assert len(used) == np.count_nonzero(counts)
        assert max(used) <= LONGEST_CODE
        assert sum(2.0**-length for length in used) < 1  # Kraft's sum; the code of all ones stays unused
