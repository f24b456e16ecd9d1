"""Properties of pictures, read from the file or set by the user: white, inversion, gamma, profile, resolution."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cxr_infer.errors import ImageError
from cxr_infer.formats.picture import Picture
from cxr_infer.formats.png import chunk, with_chunks
from cxr_infer.formats.readers import read_picture, write_image
from cxr_infer.imaging.likeness import bands, looks_drawn
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import to_bytes
from cxr_infer.settings import ReadOptions
from tests.conftest import Run
from tests.infer.formats.picture_files import by_opencv, by_pillow, by_tifffile, png, raw_tiff, rows
from tests.infer.torture_case import DEEP, GRAY

UNIT = GRAY.astype(np.float32) / 255
LINEAR = chunk(b"gAMA", struct.pack(">I", 100_000))


def read(name: str, content: bytes, **options: Any) -> Picture:
    return read_picture(Path(name), content, ReadOptions(**options), Path(name).suffix)


def opened(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.encode()))
    image.load()
    return image


def profile(space: bytes) -> bytes:
    """An ICC profile of that colour space with a linear curve (ICC.1:2022, sections 7 and 10.6)."""
    curve = b"curv" + bytes(8)
    head = struct.pack(">I4sI4s4s4s", 128 + 16 + len(curve), b"none", 0x02400000, b"mntr", space, b"XYZ ")
    head = (head + bytes(12) + b"acsp").ljust(128, b"\0")
    return head + struct.pack(">I4sII", 1, b"kTRC", 144, len(curve)) + curve


GRAY_PROFILE, RGB_PROFILE = profile(b"GRAY"), profile(b"RGB ")


@pytest.mark.parametrize("white", [None, 4095])
@pytest.mark.parametrize(
    ("name", "content", "stored"),
    [
        ("x.png", by_opencv(".png", GRAY), GRAY),
        ("x.png", by_opencv(".png", DEEP), DEEP),
        ("x.tif", by_tifffile(DEEP), DEEP),
        ("x.tif", by_tifffile(UNIT), UNIT),
        ("x.tif", raw_tiff((GRAY >> 4).tobytes(), 8), GRAY >> 4),
    ],
    ids=["8 bit", "16 bit", "16-bit TIFF", "float", "dark"],
)
def test_inverted_pictures_reach_the_model_upright_and_return_bit_exact(
    name: str, content: bytes, stored: NDArray[Any], white: int | None
) -> None:
    upright, swapped = read(name, content, white=white), read(name, content, white=white, invert=True)
    np.testing.assert_allclose(swapped.unit(), 1 - upright.unit(), atol=1e-6)
    assert 0 <= swapped.unit().min() <= swapped.unit().max() <= 1
    np.testing.assert_array_equal(swapped.restored(swapped.unit()).pixels, stored)
    brighter = np.minimum(swapped.unit() + np.float32(0.1), 1)
    changed = swapped.restored(brighter).pixels.astype(float) - stored
    assert changed.max() <= 0
    assert changed.min() < 0, "pixels that the model brightens are stored darker"


@pytest.mark.slow
def test_invert_denoises_an_inverted_picture_like_its_original(run: Run, tmp_path: Path, noisy: NDArray[Any]) -> None:
    pixels = to_bytes(noisy[:128, :128])
    write_image(tmp_path / "a" / "x.png", pixels)
    write_image(tmp_path / "b" / "x.png", 255 - pixels)
    assert run("cxr-infer", "dir", "a").returncode == 0
    assert run("cxr-infer", "dir", "b", "--invert").returncode == 0
    results = [cv2.imread(str(tmp_path / f"{name}-denoised" / "x.png"), -1) for name in "ab"]
    np.testing.assert_array_equal(results[0], 255 - results[1])
    assert run("cxr-infer", "file", "b/x.png", "y.png", "--invert").returncode == 0
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "y.png"), -1), results[1])
    again = run("cxr-infer", "dir", "b", "--json", "r.json")
    assert again.returncode == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert not report["settings"]["invert"]
    assert report["files"][0]["status"] == "done", "a changed option requires a new result"


def twelve_bit(image: NDArray[Any]) -> NDArray[np.uint16]:
    return np.rint(image * 4095).astype(np.uint16)


def test_white_applies_to_references_too(
    run: Run, tmp_path: Path, clean: NDArray[np.float32], noisy: NDArray[np.float32]
) -> None:
    write_image(tmp_path / "x" / "a.png", twelve_bit(noisy))
    write_image(tmp_path / "clean" / "a.png", twelve_bit(clean))
    done = run("cxr-infer", "dir", "x", "--white", "4095", "--reference", "clean", "--json", "r.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "r.json").read_text())["files"][0]
    result = cv2.imread(str(tmp_path / "x-denoised" / "a.png"), -1).astype(np.float32) / 4095
    assert record["psnr"] == pytest.approx(psnr(twelve_bit(clean).astype(np.float32) / 4095, result), abs=0.01)
    write_image(tmp_path / "clean" / "a.png", np.rint(clean * 65535).astype(np.uint16))
    done = run("cxr-infer", "dir", "x", "--white", "4095", "--reference", "clean", "--json", "r.json", "--overwrite")
    assert "reference: pixels above --white" in json.loads((tmp_path / "r.json").read_text())["files"][0]["message"]


@pytest.mark.slow
def test_compare_applies_white_and_invert(
    run: Run, tmp_path: Path, clean: NDArray[np.float32], noisy: NDArray[np.float32]
) -> None:
    for name, image in (("clean", clean), ("noisy", noisy)):
        write_image(tmp_path / f"{name}.png", twelve_bit(image[:128, :128]))
        write_image(tmp_path / f"{name} swapped.png", 4095 - twelve_bit(image[:128, :128]))

    def figures(*arguments: str) -> list[str]:
        done = run("cxr-infer", "compare", *arguments, "--overwrite")
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if "noisy  " in line or "window" in line]

    figures_of_original = figures("clean.png", "noisy.png", "--white", "4095")
    assert figures_of_original == figures("clean swapped.png", "noisy swapped.png", "--white", "4095", "--invert")
    true = psnr(
        twelve_bit(clean[:128, :128]).astype(np.float32) / 4095, twelve_bit(noisy[:128, :128]) / np.float32(4095)
    )
    assert f"{true:.2f}" in figures_of_original[0]
    assert "12 of 16 bits" in run("cxr-infer", "compare", "clean.png", "noisy.png", "--overwrite").stderr
    assert run("cxr-infer", "compare", "clean.png", "noisy.png", "--overwrite", "--max-pixels", "100").returncode == 1


@pytest.mark.parametrize("bits", [8, 9, 10, 11, 12, 13, 14, 15])
def test_a_16_bit_file_with_fewer_bits_suggests_its_white(bits: int) -> None:
    white = (1 << bits) - 1
    pixels = np.rint(UNIT * white).astype(np.uint16)
    (note,) = read("x.png", by_opencv(".png", pixels)).notes
    assert f"--white {white} " in note
    assert read("x.png", by_opencv(".png", pixels), white=white).notes == ()


def test_full_range_and_black_16_bit_files_give_no_note() -> None:
    for pixels in (DEEP, DEEP * 0):
        assert read("x.png", by_opencv(".png", pixels)).notes == ()


@pytest.mark.parametrize(("kind", "name"), [("PNG", "x.png"), ("TIFF", "x.tif"), ("JPEG", "x.jpg"), ("WEBP", "x.webp")])
def test_an_icc_profile_is_kept(kind: str, name: str) -> None:
    profile_given = RGB_PROFILE if kind == "WEBP" else GRAY_PROFILE
    picture = read(name, by_pillow(kind, GRAY, icc_profile=profile_given))
    assert "profile" not in " ".join(picture.notes)
    assert opened(picture).info["icc_profile"] == profile_given


def test_gamma_is_kept_within_png_and_its_loss_is_noted_elsewhere() -> None:
    content = with_chunks(png(56, 40, rows(GRAY)), LINEAR)
    picture = read("x.png", content)
    assert opened(picture).info["gamma"] == 1.0
    assert picture.notes == ()
    np.testing.assert_array_equal(np.array(opened(picture)), GRAY)
    for name in ("x.tif", "x.bmp", "x.webp"):
        (note,) = read(name, content).notes
        assert "gamma or colour profile is not copied" in note
    (*_, note) = read("x.png", by_pillow("PNG", np.dstack([GRAY] * 3), icc_profile=RGB_PROFILE)).notes
    assert "gamma or colour profile is not copied" in note, "a gray file may not carry an RGB profile"
    assert "icc_profile" not in opened(read("x.png", by_pillow("PNG", GRAY, icc_profile=RGB_PROFILE))).info
    bare = by_opencv(".bmp", GRAY)
    header = bytearray(struct.pack("<I", 108) + bare[18:54] + bytes(68))
    header[96:108] = struct.pack("<III", *(1 << 16,) * 3)  # bV4GammaRed, Green and Blue
    start = struct.pack("<2sIII", b"BM", len(bare) + 68, 0, 54 + 1024 + 68)
    (note,) = read("x.bmp", start + bytes(header) + bare[54:]).notes
    assert "gamma" in note
    assert read("x.bmp", bare).notes == ()
    (note,) = read("x.tif", raw_tiff(GRAY.tobytes(), 8, t301=7)).notes
    assert "gamma" in note


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_resolution_is_kept(byteorder: str, bigtiff: bool) -> None:
    unlike = {"resolution": (143, 150), "resolutionunit": "CENTIMETER"}
    content = by_tifffile(DEEP, byteorder=byteorder, bigtiff=bigtiff, **unlike)
    tags = opened(read("x.tif", content)).tag_v2  # type: ignore[attr-defined]
    assert (tags[282], tags[283], tags[296]) == (143, 150, 3)
    assert opened(read("x.png", content)).info["dpi"] == pytest.approx((143 * 2.54, 150 * 2.54), rel=1e-3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_resolution_of_other_formats_is_written_to_png_and_tiff(kind: str) -> None:
    content = by_pillow(kind, GRAY // 2 + 60, dpi=(150, 300))
    for name in ("x.png", "x.tif"):
        assert opened(read(name, content)).info["dpi"] == pytest.approx((150, 300), rel=1e-3), name


@pytest.mark.parametrize("quality", [10, 50, 80, 95])
def test_lossy_webp_of_gray_pictures_is_gray_and_of_tinted_ones_is_not(
    quality: int, noisy_bytes: NDArray[np.uint8]
) -> None:
    content = by_pillow("WEBP", noisy_bytes, quality=quality)
    picture = read("x.webp", content)
    decoded = np.array(Image.open(io.BytesIO(content))).astype(int)
    assert np.ptp(decoded, axis=2).max() == 1, "the chroma rounding that this test is about"
    assert np.abs(decoded - picture.pixels[..., None]).max() <= 1
    blue = np.dstack([noisy_bytes, noisy_bytes, np.maximum(noisy_bytes, 12)])
    with pytest.raises(ImageError, match="colour"):
        read("x.webp", by_pillow("WEBP", blue, quality=quality))
    with pytest.raises(ImageError, match="colour"):  # in a lossless file, one level is a stored difference
        read("x.webp", by_pillow("WEBP", np.minimum(noisy_bytes, 254)[..., None] + np.uint8([0, 1, 0]), lossless=True))


@pytest.mark.parametrize("dose", [None, 20.0, 71.0])
def test_phantoms_look_like_radiographs_and_drawn_pictures_do_not(dose: float | None) -> None:
    clean = render_phantom(4, 512)
    random = np.random.default_rng(2)
    image = clean if dose is None else np.minimum(random.poisson(clean * dose) / dose, 1)
    for gray in (to_bytes(image), 255 - to_bytes(image)):
        assert not looks_drawn(bands(gray))
    page = np.full((1000, 800), 255, np.uint8)
    for row in range(50, 950, 25):
        cv2.putText(page, "A report of one page, typed", (40, row), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 1, cv2.LINE_AA)
    screen = np.full((800, 1200), 232, np.uint8)
    screen[:60], screen[60:, :250] = 70, 205
    screen[200:500, 300:600] = to_bytes(image)[:300, :300]
    halftone = ((clean > np.tile([[0.1, 0.6], [0.9, 0.4]], (256, 256))) * 255).astype(np.uint8)
    for drawn in (page, screen, halftone):
        assert looks_drawn(bands(drawn))
        assert "looks like a page, drawing or screenshot" in " ".join(read("x.png", by_opencv(".png", drawn)).notes)
