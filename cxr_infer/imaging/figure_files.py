"""Write a figure for a paper as SVG or PDF: text as text, lines as lines, gray pictures without loss.

PDF follows ISO 32000-1 with the few objects needed here and one of the standard fonts.
"""

from __future__ import annotations

import base64
import zlib
from html import escape

import cv2

from cxr_infer.imaging.figure import BASE_DPI, FRAME, Box, Label, Sheet, resized
from cxr_infer.imaging.pixels import ByteImage

POINTS = 72  # per inch; the unit of PDF
FONT_FAMILY = "Helvetica, Arial, sans-serif"
FONT_ENCODING = "cp1252"  # PDF's WinAnsiEncoding; other letters become question marks


def to_svg(sheet: Sheet, dpi: float) -> bytes:
    """Return a sheet as SVG. dpi: maximum resolution of its pictures."""
    ground, ink = (f"rgb({gray},{gray},{gray})" for gray in (sheet.ground.paper, sheet.ground.ink))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{sheet.width / BASE_DPI:.4f}in" height="{sheet.height / BASE_DPI:.4f}in" '
        f'viewBox="0 0 {sheet.width:g} {sheet.height:g}">',
        f'<rect width="100%" height="100%" fill="{ground}"/>',
        *(_svg_image(box, picture, dpi) for box, picture in sheet.pictures),
        *(
            f'<rect {_svg_box(box)} fill="none" stroke="rgb{FRAME}" stroke-width="{line:g}"/>'
            for box, line in sheet.frames
        ),
        f'<g fill="{ink}" font-family="{FONT_FAMILY}">',
        *(
            f'<text x="{one.x:.2f}" y="{one.y:.2f}" font-size="{one.size:g}">{escape(one.text)}</text>'
            for one in sheet.labels
        ),
        "</g></svg>\n",
    ]
    return "\n".join(parts).encode()


def _svg_box(box: Box) -> str:
    return f'x="{box.left:.2f}" y="{box.top:.2f}" width="{box.width:.2f}" height="{box.height:.2f}"'


def _svg_image(box: Box, picture: ByteImage, dpi: float) -> str:
    shown = _at_most(box, picture, dpi)
    done, png = cv2.imencode(".png", shown)
    assert done, "gray pixels always become a PNG"
    data = base64.b64encode(png.tobytes()).decode()
    smooth = "auto" if shown.shape[1] >= box.width else "pixelated"
    return (
        f'<image {_svg_box(box)} preserveAspectRatio="none" style="image-rendering:{smooth}" '
        f'xlink:href="data:image/png;base64,{data}"/>'
    )


def _at_most(box: Box, picture: ByteImage, dpi: float) -> ByteImage:
    """Average a picture down to at most the requested resolution."""
    width, height = (max(1, round(side * dpi / BASE_DPI)) for side in (box.width, box.height))
    return resized(picture, width, height) if width < picture.shape[1] else picture


def to_pdf(sheet: Sheet, dpi: float) -> bytes:
    """Return a sheet as a one-page PDF. dpi: maximum resolution of its pictures."""
    pictures = [_at_most(box, picture, dpi) for box, picture in sheet.pictures]
    first_image = 6  # after the catalogue, the page tree, the page, its content and the font
    names = " ".join(f"/I{i} {first_image + i} 0 R" for i in range(len(pictures)))
    size = f"0 0 {_points(sheet.width):.2f} {_points(sheet.height):.2f}"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{size}] /Contents 4 0 R "
        f"/Resources << /Font << /F1 5 0 R >> /XObject << {names} >> >> >>".encode(),
        _stream(b"", _pdf_content(sheet)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        *map(_pdf_image, pictures),
    ]
    return _pdf_file(objects)


def _points(length: float) -> float:
    return length * POINTS / BASE_DPI


def _pdf_content(sheet: Sheet) -> bytes:
    """Return the page's drawing operators; y points up."""
    paper, ink = (gray / 255 for gray in (sheet.ground.paper, sheet.ground.ink))
    red, green, blue = (part / 255 for part in FRAME)
    parts = [
        f"{paper:.3f} g 0 0 {_points(sheet.width):.2f} {_points(sheet.height):.2f} re f",
        *(f"q {_pdf_box(sheet, box, matrix=True)} cm /I{i} Do Q" for i, (box, _) in enumerate(sheet.pictures)),
        f"{red:.3f} {green:.3f} {blue:.3f} RG",
        *(f"{_points(line):.2f} w {_pdf_box(sheet, box)} re S" for box, line in sheet.frames),
        f"{ink:.3f} g BT",
    ]
    return "\n".join(parts).encode() + b"".join(_pdf_text(sheet, label) for label in sheet.labels) + b"\nET"


def _pdf_box(sheet: Sheet, box: Box, *, matrix: bool = False) -> str:
    """Return a rectangle's corner and sides, or the matrix that maps a unit-square picture to it."""
    x, y = _points(box.left), _points(sheet.height - box.top - box.height)
    width, height = _points(box.width), _points(box.height)
    if matrix:
        return f"{width:.3f} 0 0 {height:.3f} {x:.3f} {y:.3f}"
    return f"{x:.3f} {y:.3f} {width:.3f} {height:.3f}"


def _pdf_text(sheet: Sheet, label: Label) -> bytes:
    text = label.text.encode(FONT_ENCODING, "replace")
    for special in (b"\\", b"(", b")"):
        text = text.replace(special, b"\\" + special)
    x, y = _points(label.x), _points(sheet.height - label.y)
    return f"\n/F1 {_points(label.size):.2f} Tf 1 0 0 1 {x:.2f} {y:.2f} Tm (".encode() + text + b") Tj"


def _pdf_image(picture: ByteImage) -> bytes:
    height, width = picture.shape
    facts = (
        f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceGray "
        "/BitsPerComponent 8 /Interpolate false "
    )
    return _stream(facts.encode(), picture.tobytes())


def _stream(facts: bytes, content: bytes) -> bytes:
    packed = zlib.compress(content, 9)
    head = b"<< " + facts + f"/Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode()
    return head + packed + b"\nendstream"


def _pdf_file(objects: list[bytes]) -> bytes:
    """Write objects numbered from 1, the cross-reference table and the trailer."""
    content = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, one in enumerate(objects, start=1):
        places.append(len(content))
        content += f"{number} 0 obj\n".encode() + one + b"\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    ending = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(content)}\n%%EOF\n"
    )
    return content + ending.encode()
