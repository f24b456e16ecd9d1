"""TIFF in every layout is read bit-exact, and refused if a strip is damaged."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from cxr_infer.errors import ImageError
from cxr_infer.formats.picture import Picture
from cxr_infer.formats.readers import read_picture
from cxr_infer.settings import ReadOptions
from tests.infer.formats.picture_files import by_pillow, by_tifffile, by_tifffile_in_turn, raw_tiff
from tests.infer.torture_case import GRAY

RAMP = (np.add.outer(np.arange(90) * 3, np.arange(77)) % 256).astype(np.uint8)
NOISE = np.random.default_rng(1).integers(0, 256, (90, 77), np.uint8)
KINDS = {"8": RAMP, "16": RAMP.astype(np.uint16) * 257, "float": (RAMP / 255).astype(np.float32)}
BY_PILLOW = ["tiff_lzw", "packbits", "zstd", "lzma", "tiff_adobe_deflate", "tiff_deflate"]


def read(content: bytes) -> Picture:
    return read_picture(Path("x.tif"), content, ReadOptions(), ".tif")


def strips_of(content: bytes) -> list[tuple[int, int]]:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return list(zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True))


@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}], ids=["whole", "strips", "tiles"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_is_read_bit_exact(
    kind: str, byteorder: str, bigtiff: bool, compression: str | None, layout: dict[str, Any]
) -> None:
    pixels = KINDS[kind]
    predicted = compression is not None and kind != "float"
    more = {"compression": compression, "predictor": predicted, **layout}
    picture = read(by_tifffile(pixels, byteorder=byteorder, bigtiff=bigtiff, **more))
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, pixels)
    planes = by_tifffile(np.stack([pixels] * 3), photometric="rgb", planarconfig="separate", **more)
    np.testing.assert_array_equal(read(planes).pixels, pixels)


@pytest.mark.parametrize("rows", [90, 7])
@pytest.mark.parametrize("compression", BY_PILLOW)
@pytest.mark.parametrize("kind", KINDS)
def test_every_compression_is_read_bit_exact(kind: str, compression: str, rows: int) -> None:
    content = by_pillow("TIFF", KINDS[kind], compression=compression, tiffinfo={278: rows})
    np.testing.assert_array_equal(read(content).pixels, KINDS[kind])


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("rows", [96, 16])
def test_jpeg_strips_are_read_as_pillow_reads_them(rows: int, colours: bool) -> None:
    mild = RAMP // 2 + 60
    pixels = np.dstack([mild] * 3) if colours else mild
    content = by_pillow("TIFF", pixels, compression="jpeg", tiffinfo={278: rows})
    assert len(strips_of(content)) == -(-90 // rows)
    decoded = np.array(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(read(content).pixels, decoded[..., 0] if colours else decoded)


@pytest.mark.parametrize("which", [0, 5, 11])
@pytest.mark.parametrize("compression", [*BY_PILLOW, "jpeg"])
def test_zeroed_strips_are_refused_as_damaged(compression: str, which: int) -> None:
    content = by_pillow("TIFF", NOISE, compression=compression, tiffinfo={278: 8})
    at, length = strips_of(content)[which]
    with pytest.raises(ImageError, match="damaged"):
        read(content[:at] + bytes(length) + content[at + length :])
    if compression != "zstd":  # which stores noise uncompressed and without a checksum
        half = length // 2
        with pytest.raises(ImageError, match="damaged"):
            read(content[: at + half] + bytes(length - half) + content[at + length :])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_1_2_and_4_bit_values_are_scaled_as_in_png(bits: int) -> None:
    stored = GRAY >> (8 - bits)
    wide = np.unpackbits(stored[..., None], axis=-1)[..., 8 - bits :].reshape(len(stored), -1)
    content = raw_tiff(np.packbits(wide, axis=1).tobytes(), bits)
    np.testing.assert_array_equal(read(content).pixels, stored * (255 // ((1 << bits) - 1)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (by_tifffile(np.stack([RAMP] * 5)), "several pages"),
        (by_tifffile(np.stack([RAMP] * 5), imagej=True), "several pages"),
        (by_tifffile(np.stack([RAMP] * 5), truncate=True), "stack or volume of 5"),
        (by_tifffile(np.stack([RAMP] * 5), imagej=True, truncate=True), "stack or volume of 5"),
        (by_tifffile_in_turn((RAMP[::4, ::4], 0), (RAMP, 0)), "several pages"),
        (by_tifffile_in_turn((RAMP[::2, ::2], 1), (RAMP[::4, ::4], 1)), "no full-size picture"),
        (raw_tiff(GRAY.tobytes() * 3, 8), "pixels of several pictures"),
        (raw_tiff(GRAY.tobytes(), 8, t278=10), "has 1 strips but needs 4"),
        (raw_tiff(GRAY.tobytes(), 8, photometric=8), "CIELab"),
        (raw_tiff(GRAY.tobytes(), 8, photometric=32803), "raw colour filter"),
        *((raw_tiff(GRAY.tobytes(), 8, t259=scheme, t317=2), "predictor 2 without LZW") for scheme in (1, 32773)),
        (raw_tiff(GRAY.tobytes(), 5), "5-bit unsigned integer"),
        (raw_tiff(GRAY.tobytes(), 8, t277=200), "200 samples per pixel"),
        (by_tifffile(np.dstack([RAMP, RAMP]), photometric="minisblack", planarconfig="contig"), "2 samples of 8 bits"),
        (by_tifffile(RAMP.astype(np.complex64)), "64-bit complex"),
        *((raw_tiff(GRAY.tobytes(), 8, t259=scheme), f"({scheme})") for scheme in (0, 2, 4, 6, 33003, 34892, 50002)),
    ],
)
def test_files_other_than_one_gray_picture_are_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as raised:
        read(content)
    assert reason in str(raised.value)


def test_reduced_copies_in_sub_ifds_are_not_pages() -> None:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        file.write(RAMP, subifds=2)
        for step in (2, 4):
            file.write(np.ascontiguousarray(RAMP[::step, ::step]), subfiletype=1)
    np.testing.assert_array_equal(read(content.getvalue()).pixels, RAMP)


def test_a_picture_in_the_sub_ifd_of_its_thumbnail_is_found() -> None:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        file.write(np.ascontiguousarray(RAMP[::4, ::4]), subfiletype=1, subifds=1)
        file.write(RAMP)
    np.testing.assert_array_equal(read(content.getvalue()).pixels, RAMP)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opaque_alpha_is_ignored_and_other_alpha_is_refused(dtype: type) -> None:
    pixels: NDArray[Any] = KINDS["8" if dtype is np.uint8 else "16"]
    opaque = np.full_like(pixels, np.iinfo(dtype).max)
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    np.testing.assert_array_equal(read(by_tifffile(np.dstack([pixels, opaque]), **options)).pixels, pixels)
    with pytest.raises(ImageError, match="transparent"):
        read(by_tifffile(np.dstack([pixels, pixels]), **options))
