"""A directory of every kind of good, bad and irrelevant file that a run may meet, and the expected outcome of each."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from cxr_infer.formats.dicom.optional import read_dicom
from cxr_infer.settings import ReadOptions
from tests.infer.formats.dicom import dicom_files as dicom
from tests.infer.formats.picture_files import (
    MASK,
    by_opencv,
    by_pillow,
    by_tifffile,
    by_tifffile_in_turn,
    corrupt,
    holed,
    png,
    png_chunk,
    raw_tiff,
    rows,
    tiff_directory,
    with_alpha,
)
from tests.infer.good_pictures import good_cases
from tests.infer.torture_case import DEEP, DONE, FAILED, GRAY, IGNORED, SKIPPED, Case, link_to

COLOUR = np.dstack([GRAY, GRAY[::-1], GRAY])


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        place = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is limited to 107 bytes
        try:
            listener.bind(path.name)
        finally:
            os.chdir(place)


def unreadable(path: Path) -> None:
    path.write_bytes(by_opencv(".png", GRAY))
    path.chmod(0)


def damaged_cases() -> dict[str, Case]:
    noise = np.random.default_rng(1).integers(0, 256, (200, 200), np.uint8)
    whole, jpeg = by_opencv(".png", noise), by_pillow("JPEG", noise)
    lzw, webp = (
        by_pillow("TIFF", noise, compression="tiff_lzw"),
        by_opencv(".webp", noise, cv2.IMWRITE_WEBP_QUALITY, 101),
    )
    bare, bmp, pgm = by_tifffile(noise), by_opencv(".bmp", noise), by_opencv(".pgm", noise)
    contents = {
        "cut.png": whole[: len(whole) // 2],
        "cut in its header.png": whole[:20],
        "without its end.png": whole[:-12],
        "wrong data checksum.png": png(56, 40, rows(GRAY), sums={b"IDAT": 1}),
        "wrong header checksum.png": png(56, 40, rows(GRAY), sums={b"IHDR": 1}),
        "too few rows.png": png(56, 40, rows(GRAY)[:500]),
        "chunk of gigabytes.png": whole[:40] + b"\x7f\xff\xff\xffIDAT" + whole[48:],
        "no data.png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 5, 8, 0, 0, 0, 0)),
        "zero width.png": png(0, 40, b""),
        "corrupt.png": corrupt(whole, 0.5),
        "text \x1b[31m\u202e.png": b"this is no image\n",
        "page.jpg": b"<html><body>404 not found</body></html>",
        "nothing\nat all.png": b"",
        "zeros.tif": bytes(5000),
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "header only.jpg": jpeg[:30],
        "cut.tif": bare[: len(bare) // 2],
        "cut lzw.tif": lzw[: len(lzw) * 9 // 10],
        "corrupt lzw.tif": corrupt(lzw, 0.5),
        "loop of directories.tif": tiff_directory(10, 10, next_directory=8),
        "directory beyond the end.tif": b"II*\0\xff\xff\xff\x7f",
        "header only.tif": b"MM\0*",
        "big header only.tif": b"II+\0\x08\0\0\0",
        "strip of no bytes.tif": raw_tiff(noise[:40, :56].tobytes(), 8, t279=0),
        "strip too short.tif": raw_tiff(noise[:40, :56].tobytes(), 8, t279=1000),
        "strip beyond the end.tif": raw_tiff(noise[:40, :56].tobytes(), 8, t279=3000),
        "hole in lzw.tif": holed(lzw),
        "cut.bmp": bmp[:-100],
        "header only.bmp": bmp[:20],
        "cut.pgm": pgm[:-1],
        "white 0.pgm": b"P5\n10 10\n0\n" + bytes(100),
        "in words.pgm": b"P2\n2 2\n255\n1 2 3 4\n",
        "cut.webp": webp[: len(webp) // 2],
        "gif.png": by_pillow("GIF", GRAY),
        "array.tif": b"\x93NUMPY\x01\0v\0{'descr': '<f4'}",
        "text.dcm": b"no DICOM file at all",
    }
    return {name: Case(content, FAILED) for name, content in contents.items()}


def refused_cases() -> dict[str, Case]:
    unit = GRAY.astype(np.float32) / 255
    nan = unit.copy()
    nan[3, 3] = np.nan
    coloured = Image.fromarray(COLOUR).convert("P")
    pages, colour, floats = "has several", "a colour image", "must lie in [0, 1]"
    several = [GRAY, 255 - GRAY]
    see_through = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(GRAY)])
    contents = {
        "pages.tif": (by_pillow("TIFF", *several), pages),
        "animated.png": (by_pillow("PNG", *several), pages),
        "animated.webp": (by_pillow("WEBP", *several), pages),
        "colour.png": (by_opencv(".png", COLOUR), colour),
        "colour palette.png": (by_pillow("PNG", coloured), colour),
        "colour 16.png": (by_opencv(".png", COLOUR.astype(np.uint16) * 257), colour),
        "colour.jpg": (by_pillow("JPEG", COLOUR), colour),
        "colour.tif": (by_tifffile(COLOUR, photometric="rgb"), colour),
        "colour.bmp": (by_opencv(".bmp", COLOUR), colour),
        "colour palette.tif": (by_pillow("TIFF", coloured), colour),
        "two images.pgm": (by_opencv(".pgm", GRAY) * 2, pages),
        "signed 8.tif": (by_tifffile(GRAY.astype(np.int8)), "signed"),
        "unknown compression.tif": (raw_tiff(GRAY.tobytes(), 8, t259=65000), "an unknown scheme"),
        "jpeg 2000.tif": (raw_tiff(by_opencv(".jp2", GRAY), 8, t259=34712), "compressed by JPEG 2000"),
        "three pictures.tif": (
            by_tifffile(COLOUR, photometric="minisblack", planarconfig="contig"),
            "3 samples of 8 bits",
        ),
        "two pictures in planes 16.tif": (
            by_tifffile(np.stack([DEEP, DEEP]), photometric="minisblack", planarconfig="separate"),
            "2 samples of 16 bits",
        ),
        "mask.tif": (by_tifffile_in_turn((GRAY, 0), (GRAY > 9, MASK)), "transparent"),
        "imagej stack.tif": (by_tifffile(np.stack(several), imagej=True, truncate=True), "a stack or volume of 2"),
        "volume.tif": (by_tifffile(np.stack([GRAY] * 16), volumetric=True, tile=(16, 16, 16)), "volume of 16"),
        "half float.tif": (by_tifffile(unit.astype(np.float16)), "16-bit floating-point"),
        "cmyk.tif": (by_tifffile(np.dstack([GRAY] * 4), photometric="separated"), "CMYK"),
        "colour.pnm": (b"P6\n2 2\n255\n" + bytes(12), "a PPM file"),
        "transparent.tif": (by_pillow("TIFF", see_through), "transparent"),
        "gray alpha 16.tif": (raw_tiff(np.dstack([DEEP, DEEP]).tobytes(), 16, t277=2), "2 samples of 16 bits"),
        "transparent.png": (by_opencv(".png", with_alpha(np.dstack([GRAY] * 3), 100)), "transparent"),
        "one gray is transparent.png": (by_pillow("PNG", GRAY, transparency=9), "transparent"),
        "float beyond 1.tif": (by_tifffile(unit * 2), floats),
        "float not a number.tif": (by_tifffile(nan), floats),
        "signed.tif": (by_tifffile(GRAY.astype(np.int16)), "not supported"),
        "32 bit.tif": (by_tifffile(GRAY.astype(np.uint32)), "not supported"),
        "double.tif": (by_tifffile(unit.astype(np.float64)), "not supported"),
    }
    return {name: Case(content, FAILED, reason) for name, (content, reason) in contents.items()}


def bomb_cases() -> dict[str, Case]:
    """Small files that promise more pixels than a machine has memory for."""
    bombs = "are more than the"
    jpeg = by_pillow("JPEG", GRAY)
    at = jpeg.index(b"\xff\xc0") + 5  # position of the height
    webp = by_pillow("WEBP", GRAY, lossless=True)  # simple format: width and height from byte 21, 14 bits each
    contents = {
        "bomb.png": (png(100_000, 100_000, bytes(1000)), bombs),
        "zlib bomb.png": (png(30_000, 30_000, bytes(30_001 * 3000)), bombs),
        "bomb.tif": (tiff_directory(100_000, 100_000), bombs),
        "bomb of one tile.tif": (
            raw_tiff(zlib.compress(bytes(100_000)), 8, t259=8, t322=40_000, t323=40_000, t324=200, t325=100),
            bombs,
        ),
        "bomb.jpg": (jpeg[:at] + struct.pack(">HH", 65_500, 65_500) + jpeg[at + 4 :], bombs),
        "bomb.webp": (webp[:21] + struct.pack("<I", 16_382 | 16_382 << 14) + webp[25:], "more than"),
        "bomb.pgm": (b"P5\n99999 99999\n255\n", bombs),
        "bomb.bmp": (
            struct.pack("<2sIIIIiiHHIIiiII", b"BM", 0, 0, 54, 40, 60_000, 60_000, 1, 8, 0, 0, 0, 0, 0, 0),
            bombs,
        ),
    }
    return {name: Case(content, FAILED, reason) for name, (content, reason) in contents.items()}


def special_file_cases() -> dict[str, Case]:
    return {
        "fifo.png": Case(os.mkfifo, FAILED, "a FIFO"),
        "socket.png": Case(a_socket, FAILED, "a socket"),
        "device.png": Case(link_to("/dev/zero"), FAILED, "outside the input directory"),
        "leads nowhere.png": Case(link_to("gone.png"), FAILED, "a broken link"),
        "leads to itself.png": Case(link_to("leads to itself.png"), FAILED, "a broken link"),
        "leads out.png": Case(link_to("../outside.png"), FAILED, "outside the input directory"),
        "a directory.png": Case(Path.mkdir, FAILED, "a directory named like an image"),
        "loop": Case(link_to("."), FAILED, "not followed"),
        "n" * 248 + ".jpg": Case(by_pillow("JPEG", GRAY), FAILED, "too long"),
        "unreadable.png": Case(unreadable, FAILED if os.geteuid() else DONE),
    }


def irrelevant_cases() -> dict[str, Case]:
    plain = by_opencv(".png", GRAY)
    contents = {
        "notes.txt": b"patient list",
        "no suffix": b"\0" * 300,
        "short": b"x",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "report.json": b"{}",
        "data.csv": b"a,b\n1,2\n",
        "archive.png.gz": b"\x1f\x8b" + bytes(20),
        ".hidden.png": plain,
        "._resource fork.png": b"\0\x05\x16\x07",
        ".cxr-0123456789abcdef.part": b"half",
        "DICOMDIR": bytes(128) + b"DICM" + bytes(50),
    }
    return {name: Case(content, IGNORED) for name, content in contents.items()} | {
        "pipe": Case(os.mkfifo, IGNORED),
        "unreadable": Case(unreadable, FAILED, "cannot be read") if os.geteuid() else Case(unreadable, DONE),
        "device": Case(link_to("/dev/zero"), IGNORED),
        ".git": Case(Path.mkdir, IGNORED, "hidden"),
    }


def dicom_cases() -> dict[str, Case]:
    plain = dicom.stored(dicom.RAMP, 12, signed=True)
    ramp = dicom.stored(dicom.RAMP, 12, mono1=True)
    eight = dicom.stored(dicom.RAMP, 8)
    whole = dicom.encoded(dicom.digital(ramp, 12, mono1=True))
    result = read_dicom(Path("x"), whole, ReadOptions()).encode(dicom.PROVENANCE)
    good = {
        "IM0001": (whole, ramp),  # no suffix, as on media
        "dx.dcm": (whole, ramp),
        "dicom by content.png": (whole, ramp),
        "dicom by content.jpg": (whole, ramp),
        "signed.dcm": (dicom.encoded(dicom.computed(plain, 12)), plain),
        "raw.dcm": (dicom.encoded(dicom.digital(plain, 12, processing=True)), plain),
        "capture.ima": (dicom.encoded(dicom.secondary(eight, 8)), eight),
        "big endian.dcm": (dicom.encoded(dicom.digital(ramp, 12, mono1=True), ExplicitVRBigEndian), ramp),
        "run lengths.dcm": (dicom.encoded(dicom.digital(ramp, 12, mono1=True), RLELossless), ramp),
        "1.2.840.113619.2.5": (whole, ramp),  # a UID as a name seems to have a suffix
    }
    bad = {
        "cut.dcm": (whole[: len(whole) // 2], "incomplete"),
        "preamble only.dcm": (whole[:132], "transfer syntax"),
        "frames.dcm": (dicom.encoded(dicom.computed(plain, 12, NumberOfFrames=3)), "3 frames"),
        "colour.dcm": (dicom.encoded(dicom.secondary(eight, 8, PhotometricInterpretation="RGB")), "not a gray image"),
        "bomb.dcm": (dicom.encoded(dicom.computed(plain, 12, Rows=60000, Columns=60000)), "are more than the"),
        "no pixels.dcm": (dicom.encoded(dicom.computed(plain, 12, PixelData=None)), "no pixel data"),
    }
    return (
        {name: Case(content, DONE, "", stored) for name, (content, stored) in good.items()}
        | {name: Case(content, FAILED, reason) for name, (content, reason) in bad.items()}
        | {"already denoised.dcm": Case(result, SKIPPED, "already a result of cxr-infer")}
    )


def all_cases() -> dict[str, Case]:
    unread = damaged_cases() | refused_cases() | bomb_cases() | special_file_cases()
    return good_cases() | unread | irrelevant_cases() | dicom_cases()


def build(folder: Path) -> dict[str, Case]:
    """Make the directory, and `outside.png` next to it. Return its cases by name."""
    folder.mkdir()
    (folder.parent / "outside.png").write_bytes(by_opencv(".png", GRAY))
    cases = all_cases()
    for name, case in sorted(cases.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(case.make, bytes):
            path.write_bytes(case.make)
        else:
            case.make(path)
    return cases
