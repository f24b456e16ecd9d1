"""Draw maps over an image as small pictures: mid-gray is 0 for signed maps, black is 0 for others."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from cxr_infer.imaging.pixels import ByteImage, FloatImage
from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.findings import NamedMap
from cxr_infer.report.html.markup import text

NO_CHANGE, STEPS, WHITE = 128, 127, 255  # gray level of 0, levels from there to white, and white
SHOWN = 99.5  # percentile of absolute values drawn black or white; fewer than 1 in 200 pixels saturate


def largest(maps: Sequence[NamedMap]) -> float:
    """Return the value drawn white in all of these maps, in their unit; 1 if they are zero."""
    return max((float(np.percentile(np.abs(each.values), SHOWN)) for each in maps), default=0.0) or 1.0


def to_picture(values: FloatImage, most: float, *, signed: bool = True) -> ByteImage:
    """Return an (H, W) gray picture. most: the value drawn white. signed: mid-gray is 0, otherwise black is 0."""
    zero, steps = (NO_CHANGE, STEPS) if signed else (0, WHITE)
    return np.asarray(np.clip(np.rint(zero + steps * np.nan_to_num(values) / most), 0, WHITE), dtype=np.uint8)


def map_figures(maps: Sequence[NamedMap]) -> str:
    """Return maps as markup; maps of one condition share a gray scale, so that methods can be compared."""
    return "".join(_figure(each, [other for other in maps if other.condition == each.condition]) for each in maps)


def _figure(named: NamedMap, alike: Sequence[NamedMap]) -> str:
    """Return the picture with its method, condition and gray scale."""
    most, signed = largest(alike), min(float(other.values.min()) for other in alike) < 0
    picture = to_picture(named.values, most, signed=signed)
    _, encoded = cv2.imencode(".png", picture)
    height, width = picture.shape
    about = ", ".join(filter(None, (named.method, named.condition)))
    data = base64.b64encode(encoded.tobytes()).decode()
    shown = shown_number(most)
    grays = f"Mid-gray is 0, white +{shown}, black −{shown}" if signed else f"Black is 0, white {shown}"  # noqa: RUF001
    return (
        f'<figure class="map"><img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{text(f"map: {about}")}"><figcaption>{text(about)}. {grays} gray levels.</figcaption></figure>\n'
    )
