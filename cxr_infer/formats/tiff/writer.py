"""Write TIFF: gray of 8 or 16 bits or float32, compressed losslessly."""

from __future__ import annotations

import io

from PIL import Image, TiffImagePlugin

from cxr_infer.formats.picture import ORIENTATION, RESOLUTION_UNIT, RESOLUTIONS, Display, Picture


def carried(display: Display) -> Display:
    """Return the parts that a TIFF can hold."""
    return display.gray_profile()


def encode_tiff(picture: Picture) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ORIENTATION] = picture.orientation
    if picture.resolution is not None:
        for tag, value in zip(RESOLUTIONS, (picture.resolution.x, picture.resolution.y), strict=True):
            tags[tag] = TiffImagePlugin.IFDRational(*value.as_integer_ratio())
        tags[RESOLUTION_UNIT] = picture.resolution.unit
    profile = carried(picture.display).profile
    options = {"icc_profile": profile} if profile else {}
    encoded = io.BytesIO()
    Image.fromarray(picture.pixels).save(encoded, "TIFF", compression="tiff_lzw", tiffinfo=tags, **options)
    return encoded.getvalue()
