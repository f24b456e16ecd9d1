"""Maps over an image as small pictures: mid-gray is no difference, black and white the same distance from it."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from cxr_infer.imaging.pixels import ByteImage, FloatImage
from cxr_infer.lab.axes import shown_number
from cxr_infer.lab.findings import NamedMap
from cxr_infer.report.html.markup import text

NO_CHANGE, STEPS = 128, 127  # gray level of 0, and levels from there to the end
SHOWN = 99.5  # percentile of absolute values that is drawn black or white; fewer than 1 in 200 pixels saturate


def to_picture(values: FloatImage) -> tuple[ByteImage, float]:
    """(H, W) gray picture and the value, in the map's unit, that is drawn white; its negative is black."""
    most = float(np.percentile(np.abs(values), SHOWN)) or 1.0
    scaled = NO_CHANGE + STEPS * np.nan_to_num(values) / most
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8), most


def map_figure(named: NamedMap) -> str:
    """A map as markup: the picture, whose it is, and what its grays mean."""
    picture, most = to_picture(named.values)
    _, encoded = cv2.imencode(".png", picture)
    height, width = picture.shape
    about = ", ".join(filter(None, (named.method, named.condition)))
    data = base64.b64encode(encoded.tobytes()).decode()
    grays = f"Mid-gray is 0; white is +{shown_number(most)}, black is −{shown_number(most)} gray levels."  # noqa: RUF001
    return (
        f'<figure class="map"><img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{text(f"map: {about}")}"><figcaption>{text(about)}. {grays}</figcaption></figure>\n'
    )
