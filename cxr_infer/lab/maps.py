"""Maps over an image as small pictures: of differences mid-gray is 0, of what has no sign black is."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from cxr_infer.imaging.pixels import ByteImage, FloatImage
from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.findings import NamedMap
from cxr_infer.report.html.markup import text

NO_CHANGE, STEPS, WHITE = 128, 127, 255  # gray level of 0, levels from there to the end, and that end
SHOWN = 99.5  # percentile of absolute values that is drawn black or white; fewer than 1 in 200 pixels saturate


def largest(maps: Sequence[NamedMap]) -> float:
    """What is drawn white in all of these maps, in their unit; 1 where there is nothing to be seen."""
    return max((float(np.percentile(np.abs(each.values), SHOWN)) for each in maps), default=0.0) or 1.0


def to_picture(values: FloatImage, most: float, *, signed: bool = True) -> ByteImage:
    """(H, W) gray picture. most: the value that is drawn white. signed: mid-gray is 0, else black is."""
    zero, steps = (NO_CHANGE, STEPS) if signed else (0, WHITE)
    return np.asarray(np.clip(np.rint(zero + steps * np.nan_to_num(values) / most), 0, WHITE), dtype=np.uint8)


def map_figures(maps: Sequence[NamedMap]) -> str:
    """Maps as markup; those of one condition have the same grays, so that methods compare."""
    return "".join(_figure(each, [other for other in maps if other.condition == each.condition]) for each in maps)


def _figure(named: NamedMap, alike: Sequence[NamedMap]) -> str:
    """The picture, whose it is, and what its grays mean."""
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
