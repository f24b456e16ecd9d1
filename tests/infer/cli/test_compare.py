"""`compare`: selected models and crops, several pairs, and figure files fit for publication."""

from __future__ import annotations

import base64
import io
import re
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cxr_infer.cli.compare import FigureLook, compare_files, parse_crop
from cxr_infer.errors import ImageError, UsageError
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.figure import BASE_DPI, GAP, LIGHT, PANEL, Panel, draw_sheet, lay_out
from cxr_infer.imaging.figure_files import to_pdf, to_svg
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.pixels import to_bytes
from tests.conftest import Run

SVG, LINKED = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
Pair = tuple[Path, Path]


@pytest.fixture
def pairs(tmp_path: Path, clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> list[Pair]:
    """Two pairs of different shapes, with names that a figure must escape and shorten."""
    made = []
    for name, part in (("a & (b) <c>", np.s_[:128, :96]), ("x" * 50, np.s_[:64, :200])):
        files = tmp_path / "clean" / f"{name}.png", tmp_path / "noisy" / f"{name}.png"
        for file, image in zip(files, (clean, noisy), strict=True):
            write_image(file, to_bytes(image[part]))
        made.append(files)
    return made


def width_of(columns: int, dpi: int = BASE_DPI) -> int:
    return round((GAP + columns * (PANEL + GAP)) * dpi / BASE_DPI)


def test_models_are_columns_and_pairs_are_rows(tmp_path: Path, pairs: list[Pair], identity_onnx: Path) -> None:
    models = ["window", str(identity_onnx)]
    rows, notes = compare_files(pairs, tmp_path / "f.png", models=models, look=FigureLook(dpi=75))
    assert [row.name for row in rows] == ["noisy", *models] * 2
    assert [row.pair for row in rows] == [f"{noisy} against {clean}" for clean, noisy in pairs for _ in range(3)]
    assert rows[2].psnr == pytest.approx(rows[0].psnr, abs=1e-3), "the identity network changes nothing"
    assert rows[1].psnr > rows[0].psnr + 5
    assert not notes
    with Image.open(tmp_path / "f.png") as figure:
        assert figure.width == width_of(4, 75)
        assert figure.info["dpi"] == pytest.approx((75, 75), abs=0.1)


def test_the_default_columns_are_noisy_window_and_clean(tmp_path: Path, pairs: list[Pair]) -> None:
    rows, _ = compare_files(pairs[:1], tmp_path / "f.png")
    assert [row.name for row in rows] == ["noisy", "window"]
    with Image.open(tmp_path / "f.png") as figure:
        assert figure.width == width_of(3)


def test_a_crop_is_drawn_but_the_metrics_are_of_the_whole_image(tmp_path: Path, pairs: list[Pair]) -> None:
    (clean_path, noisy_path), look = pairs[0], FigureLook(crop=(10, 20, 40, 30))
    rows, _ = compare_files(pairs[:1], tmp_path / "f.svg", look=look)
    clean, noisy = (np.asarray(Image.open(path)) for path in (clean_path, noisy_path))
    assert rows[0].psnr == pytest.approx(psnr(clean / 255, noisy / 255), abs=1e-3)
    pictures = svg_pictures((tmp_path / "f.svg").read_bytes())
    assert len(pictures) == 3, "no inset"
    np.testing.assert_array_equal(pictures[0], noisy[20:50, 10:50])
    np.testing.assert_array_equal(pictures[-1], clean[20:50, 10:50])
    with pytest.raises(UsageError, match=r"crop 80,0,17,5 is not inside its 96x128 px"):
        compare_files(pairs[:1], tmp_path / "g.svg", look=FigureLook(crop=(80, 0, 17, 5)))
    assert not (tmp_path / "g.svg").exists()


def svg_pictures(content: bytes) -> list[NDArray[np.uint8]]:
    images = ElementTree.fromstring(content).iter(f"{SVG}image")
    encoded = [image.attrib[LINKED].removeprefix("data:image/png;base64,") for image in images]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in encoded]


@pytest.fixture
def panels(clean: NDArray[np.float32]) -> list[list[Panel]]:
    return [[Panel("a <b> & (c) \\ ř", clean[:64, :80], ("MSE 0",)), Panel("second", clean[64:128, :80])]]


def test_svg_keeps_text_and_pixels(panels: list[list[Panel]]) -> None:
    content = to_svg(lay_out(panels, ground=LIGHT), 300)
    texts = [text.text for text in ElementTree.fromstring(content).iter(f"{SVG}text")]
    assert texts == ["a <b> & (c) \\ ř", "MSE 0", "second"]
    for found, panel in zip(svg_pictures(content), panels[0], strict=True):
        np.testing.assert_array_equal(found, to_bytes(panel.image))
    assert b'fill="rgb(255,255,255)"' in content
    small = svg_pictures(to_svg(lay_out(panels), 15))
    assert small[0].shape == (34, 42), "420 px at 150 dpi are 42 at 15"


def test_pdf_is_valid_and_keeps_text_and_pixels(panels: list[list[Panel]]) -> None:
    sheet = lay_out(panels, [(20, 30)])
    content = to_pdf(sheet, 300)
    table_at = int(re.search(rb"startxref\n(\d+)\n%%EOF", content)[1])
    places = [int(place) for place in re.findall(rb"^(\d{10}) 00000 n $", content[table_at:], re.MULTILINE)]
    for number, place in enumerate(places, start=1):
        assert content[place:].startswith(f"{number} 0 obj\n".encode())
    assert f"/Size {len(places) + 1} ".encode() in content
    streams = []
    for found in re.finditer(rb"/Length (\d+) >>\nstream\n", content):
        streams.append(zlib.decompress(content[found.end() : found.end() + int(found[1])]))
    drawing, *pictures = streams
    assert b"(a <b> & \\(c\\) \\\\ ?) Tj" in drawing, "a letter missing from the font becomes a question mark"
    assert drawing.count(b" Do Q") == len(pictures) == 4, "two panels, each with an inset"
    assert drawing.count(b" re S") == 4
    assert pictures[0] == to_bytes(panels[0][0].image).tobytes()
    width, height = (float(side) for side in re.search(rb"MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content).groups())
    assert (width, height) == pytest.approx((sheet.width * 72 / BASE_DPI, sheet.height * 72 / BASE_DPI), abs=0.01)


def test_the_background_is_light_on_request(panels: list[list[Panel]]) -> None:
    dark, light = draw_sheet(lay_out(panels)), draw_sheet(lay_out(panels, ground=LIGHT), 300)
    assert (tuple(dark[0, 0]), tuple(light[0, 0])) == ((18,) * 3, (255,) * 3)
    assert light.shape[0] == pytest.approx(2 * dark.shape[0], abs=1)
    strip = light[2 * GAP : 2 * GAP + 40, 2 * GAP : 200]
    assert strip.min() < 60, "its title is dark"


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,0,4", "1,2,3,-4", "a,b,c,d", "1.5,2,3,4"])
def test_an_invalid_crop_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"give X,Y,WIDTH,HEIGHT in px"):
        parse_crop(text)


def test_invalid_comparisons_are_refused_before_drawing(tmp_path: Path, pairs: list[Pair]) -> None:
    (clean, noisy), (other, _) = pairs
    with pytest.raises(ImageError, match=r"is 96x128, but .* is 200x64; both must have the same size"):
        compare_files([(other, noisy)], tmp_path / "f.pdf")
    with pytest.raises(UsageError, match="the figure is a PNG, PDF or SVG"):
        compare_files([(clean, noisy)], tmp_path / "f.jpg")
    with pytest.raises(UsageError, match="--out must not be NOISY"):
        compare_files(pairs, pairs[1][1], overwrite=True)
    with pytest.raises(UsageError, match=r"dpi 5000 is outside 30\.\.1200"):
        FigureLook(dpi=5000)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_the_command_takes_pairs_and_refuses_an_unpaired_file(run: Run, tmp_path: Path, pairs: list[Pair]) -> None:
    files = [path for pair in pairs for path in pair]
    done = run("cxr-infer", "compare", *files, "--out", "f.pdf", "--light", "-m", "window", "-m", "new", "--dpi", "100")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF-1.4")
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("window", "new"))] == [
        "window",
        "new",
    ] * 2
    alone = run("cxr-infer", "compare", *files[:3], "--out", "g.png")
    assert (alone.returncode, alone.stderr.count("\n")) == (2, 1)
    assert "has no counterpart; give pairs" in alone.stderr
