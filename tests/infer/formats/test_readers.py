from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from cxr_infer.errors import ImageError
from cxr_infer.files import write_bytes
from cxr_infer.folder import Folder, NewFile
from cxr_infer.formats.readers import read_gray, read_picture, write_image
from cxr_infer.imaging.pixels import from_unit, to_bytes, to_unit
from cxr_infer.settings import ReadOptions

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_lossless_formats_are_read_back_bit_exact(tmp_path: Path, suffix: str, dtype: type) -> None:
    pixels = (RAMP.astype(dtype) * (257 if dtype is np.uint16 else 1)).astype(dtype)
    path = tmp_path / f"x ü{suffix}"
    write_image(path, pixels)
    back = read_gray(path)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_stored_value_survives_conversion_to_unit_and_back(dtype: type) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=np.uint32).astype(dtype)
    unit = to_unit(values)
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (0, 1)
    np.testing.assert_array_equal(from_unit(unit, np.dtype(dtype)), values)


def test_out_of_range_values_saturate() -> None:
    np.testing.assert_array_equal(to_bytes(np.array([-0.2, 0.0, 0.5, 1.0, 1.7], np.float32)), [0, 0, 128, 255, 255])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_white_is_zero_tiff_is_inverted_on_reading(tmp_path: Path, dtype: type, byteorder: str) -> None:
    stored = np.arange(256).reshape(16, 16).astype(dtype)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite", byteorder=byteorder)
    np.testing.assert_array_equal(read_gray(path), np.iinfo(dtype).max - stored)
    tifffile.imwrite(path, stored, photometric="minisblack", byteorder=byteorder)
    np.testing.assert_array_equal(read_gray(path), stored)


def test_gray_in_colour_channels_is_gray(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    cv2.imwrite(str(path), np.dstack([RAMP] * 3))
    np.testing.assert_array_equal(read_gray(path), RAMP)
    cv2.imwrite(str(path), np.dstack([RAMP, RAMP, RAMP, np.full_like(RAMP, 255)]))
    np.testing.assert_array_equal(read_gray(path), RAMP)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "empty"), (b"not an image at all", "is a text file, not an image"), (None, "cannot be read")],
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"bad\.png.*{problem}"):
        read_gray(path)


def test_colour_and_transparency_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "colour.png"
    cv2.imwrite(str(path), np.dstack([RAMP, RAMP, 255 - RAMP]))
    with pytest.raises(ImageError, match="colour"):
        read_gray(path)
    cv2.imwrite(str(path), np.dstack([RAMP, RAMP, RAMP, RAMP]))
    with pytest.raises(ImageError, match="transparent"):
        read_gray(path)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(ImageError, match="taken"):
        write_bytes(tmp_path / "taken", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    with pytest.raises(ImageError, match="cannot be encoded"):
        write_image(tmp_path / "x.unknown", RAMP)


# interrupted between opening a file and entering its `with`, the garbage collector closes the file and warns
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_write_leaves_the_whole_file_or_none(tmp_path: Path) -> None:
    target = tmp_path / "out" / "x.bin"
    writing = (write_bytes, Folder.write, Folder.new_file, NewFile.__init__, NewFile.__enter__, NewFile.begin)
    writing += (NewFile.sync, NewFile.put_in_place)
    steps = {step.__code__ for step in writing}

    def interrupted_at(moment: int) -> bool:
        """Write with a Ctrl-C before the given bytecode instruction; return whether the write got that far."""
        seen = 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal seen
            if frame.f_code not in steps:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                seen += 1
                if seen == moment:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            write_bytes(target, b"content")
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    moment = 1
    while interrupted_at(moment):
        left = list(tmp_path.glob("out/*"))
        assert left in ([], [target]), f"instruction {moment}"
        assert all(path.read_bytes() == b"content" for path in left)
        target.unlink(missing_ok=True)
        moment += 1
    assert moment > 80, "the write was interrupted nowhere near all its instructions"
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_keeps_its_stored_pixels_and_orientation(tmp_path: Path, orientation: int, dtype: type) -> None:
    stored = np.arange(12 * 20).reshape(12, 20).astype(dtype)
    turned = tmp_path / "turned.tif"
    tifffile.imwrite(turned, stored, metadata=None, extratags=[(274, "H", 1, orientation, True)])
    content = turned.read_bytes()
    picture = read_picture(turned, content, ReadOptions(), ".tif")
    np.testing.assert_array_equal(picture.pixels, stored)
    with Image.open(io.BytesIO(picture.encode())) as result, Image.open(io.BytesIO(content)) as source:
        assert result.getexif().get(274, 1) == orientation
        result.load()
        source.load()  # applies the orientation
        np.testing.assert_array_equal(np.array(result), np.array(source), err_msg="as a viewer shows it")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(*chunks: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", *RAMP.shape[::-1], 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IEND", b"")


STORED_ROWS = b"".join(b"\0" + row.tobytes() for row in RAMP)
PIXEL_CHUNK = _chunk(b"IDAT", zlib.compress(STORED_ROWS))
EXIF = Image.Exif()
EXIF[0x0112] = 6
EXIF_DATA = EXIF.tobytes().removeprefix(b"Exif\0\0")
EXIF_CHUNK = _chunk(b"eXIf", EXIF_DATA)
PROFILE = f"\nexif\n{len(EXIF_DATA):8d}\n{EXIF_DATA.hex()}\n".encode()
PROFILE_CHUNK = _chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE))


@pytest.mark.parametrize("orientation_chunk", [EXIF_CHUNK, PROFILE_CHUNK])
def test_a_png_may_state_its_orientation_before_or_after_its_pixels(orientation_chunk: bytes) -> None:
    for content in (_png(orientation_chunk, PIXEL_CHUNK), _png(PIXEL_CHUNK, orientation_chunk)):
        picture = read_picture(Path("x.png"), content, ReadOptions(), ".png")
        assert picture.orientation == 6
        np.testing.assert_array_equal(picture.pixels, RAMP)


@pytest.mark.parametrize(
    "pixels",
    [
        b"",
        _chunk(b"IDAT", zlib.compress(STORED_ROWS)[:-9]),
        _chunk(b"IDAT", zlib.compress(STORED_ROWS)[:-4] + b"none"),
        _chunk(b"IDAT", zlib.compress(STORED_ROWS[:100])),
    ],
    ids=["none", "a stream cut off", "another checksum", "too few rows"],
)
def test_a_png_with_valid_chunks_but_damaged_pixels_is_refused(pixels: bytes) -> None:
    with pytest.raises(ImageError, match=r"x\.png: .*damaged"):
        read_picture(Path("x.png"), _png(pixels), ReadOptions(), ".png")
