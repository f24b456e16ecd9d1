"""Pictures for a page: JPEG that keeps grain as it is, as fine as the room allows.

Measured on X-rays and phantoms of 1024 px at 20 to 600 photons: JPEG's own tables take away high frequencies first, so
that grain of 71 photons shows with 3/4 of its strength at 90 to 120 kB; one step for all but the lowest, whose rounding
would show as blocks, keeps it within 10% there. WebP makes files of the same size and error in 6 times the time.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_infer.report.views import BeforeAfter, DisplayImage

STEPS = tuple(sorted({min(round(2 * 1.05**power), 255) for power in range(101)}))  # gray levels frequencies round to
BLOCK = 8  # px, JPEG's
SAMPLED = 8  # one strip of blocks in so many tells how large a picture will be
BEFORE, AFTER, CLEAN, RESIDUAL, ERROR = "before", "after", "clean", "residual", "error"  # pictures of one image
# of an image's room at most; before, which holds the grain, has the rest
SHARES = {AFTER: 0.18, RESIDUAL: 0.18}
SHARES_WITH_CLEAN = {AFTER: 0.15, CLEAN: 0.15, RESIDUAL: 0.15, ERROR: 0.1}

COARSE_FROM = 3  # waves across a block twice over: from there on frequencies take the whole step, the mean a quarter
FINENESS = np.clip(0.25 + 0.75 * np.hypot(*np.indices((BLOCK, BLOCK))) / COARSE_FROM, 0, 1)  # share of the step

NO_CHANGE = 128  # gray level of a residual of 0
MOST_GAIN = 32
SPREAD = 3.0  # standard deviations of the residual that must show without saturating


@dataclass(frozen=True)
class Pictures:
    """What a page shows of one image.

    jpegs: by name BEFORE, AFTER and RESIDUAL, with a reference CLEAN and ERROR too. gains: of RESIDUAL and ERROR, which
    are NO_CHANGE + gain * (before - after) and NO_CHANGE + gain * (after - clean), averaged over 2x2 px, so that shapes
    stand out of the grain. size: (width, height) of the others, px.
    """

    jpegs: dict[str, bytes]
    gains: dict[str, int]
    size: tuple[int, int]


def encode(pair: BeforeAfter, room: int) -> Pictures:
    """The pictures and their differences, in at most so many bytes together."""
    shown, differences = {AFTER: pair.after}, {RESIDUAL: amplified(pair.before, pair.after)}
    if pair.clean is not None:
        shown[CLEAN], differences[ERROR] = pair.clean, amplified(pair.after, pair.clean)
    shown |= {name: picture for name, (picture, _) in differences.items()}
    shares = SHARES if pair.clean is None else SHARES_WITH_CLEAN
    jpegs = {name: fitted(picture, int(room * shares[name])) for name, picture in shown.items()}
    jpegs[BEFORE] = fitted(pair.before, room - sum(map(len, jpegs.values())))
    height, width = pair.before.shape
    return Pictures(jpegs, {name: gain for name, (_, gain) in differences.items()}, (width, height))


def amplified(first: DisplayImage, second: DisplayImage) -> tuple[DisplayImage, int]:
    """First minus second at half the side, and its gain: the largest power of two that shows its spread."""
    small = _halved(first.astype(np.float32) - second)
    reach = max(SPREAD * float(small.std()), 1.0)
    gain = 1
    while gain < MOST_GAIN and 2 * gain * reach < NO_CHANGE:
        gain *= 2
    shown = np.clip(np.rint(NO_CHANGE + gain * small), 0, 255).astype(np.uint8)
    return shown, gain


def fitted(picture: DisplayImage, room: int) -> bytes:
    """A JPEG with the finest step that fits; where none does, as of noise alone, of half the side."""
    sample = _strips(picture)
    share = sample.size / picture.size
    place = bisect_left(STEPS, True, key=lambda step: len(jpeg(sample, step)) <= share * room, hi=len(STEPS) - 1)
    encoded = jpeg(picture, STEPS[place])
    while len(encoded) > room and place < len(STEPS) - 1:
        place += 1
        encoded = jpeg(picture, STEPS[place])
    if len(encoded) > room and min(picture.shape) > BLOCK:
        return fitted(_halved(picture), room)
    while place > 0 and len(finer := jpeg(picture, STEPS[place - 1])) <= room:
        place, encoded = place - 1, finer
    return encoded


def _halved(picture: NDArray[Any]) -> NDArray[Any]:
    """(H, W) at half the side, by averaging."""
    height, width = (max(1, side // 2) for side in picture.shape)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def _strips(picture: DisplayImage) -> NDArray[np.uint8]:
    """Every eighth strip of whole blocks: what is encoded in the time of an eighth."""
    height, width = picture.shape
    if height < SAMPLED * BLOCK:
        return picture
    strips = picture[: height // BLOCK * BLOCK].reshape(-1, BLOCK, width)[SAMPLED // 2 :: SAMPLED]
    return strips.reshape(-1, width)


def jpeg(picture: DisplayImage, step: int) -> bytes:
    """(H, W) uint8 as a gray JPEG, frequencies rounded to multiples of `step` gray levels, the lowest ones finer."""
    table = np.maximum(np.rint(step * FINENESS), 1).astype(int).ravel().tolist()
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "JPEG", qtables=[table], optimize=True)
    return encoded.getvalue()
