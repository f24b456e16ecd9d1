"""Files for a long report: make_files.py DIR COUNT writes noisy phantoms to DIR/many, clean ones to DIR/many-clean.

Portrait, landscape and square images of several sizes, some so large that the report shows a detail, long names in
folders, and some images without a reference: cards of many heights, as in a real run.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import to_bytes

SIDE = 256  # px, of the phantom from which all images are cropped
SHAPES = ((256, 256), (256, 150), (140, 256), (200, 240), (96, 256))  # px, height and width
LARGE_EVERY, LARGE = 29, 1152  # one in LARGE_EVERY has a side of LARGE px
WITHOUT_REFERENCE_EVERY = 17
DOSES = (20.0, 71.0, 200.0, 600.0)  # photons at white
LONG = "lateral-view-of-a-patient-with-a-very-long-name-of-a-study-and-a-series-without-any-space"


def name_of(number: int) -> str:
    folder = f"ward-{number % 3}/" if number % 3 else ""
    return f"{folder}{number:03}{f'-{LONG}' if number % 7 == 0 else ''}.png"


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    whole = render_phantom(4, SIDE)
    for number in range(1, count + 1):
        height, width = SHAPES[number % len(SHAPES)]
        clean = np.roll(whole, 5 * number, axis=1)[:height, :width]
        if number % LARGE_EVERY == 0:
            clean = np.clip(cv2.resize(clean, (LARGE, LARGE), interpolation=cv2.INTER_CUBIC), 0, 1)
        noisy = poisson_mottle(clean, DOSES[number % len(DOSES)], np.random.default_rng(number))
        write_image(folder / "many" / name_of(number), to_bytes(noisy))
        if number % WITHOUT_REFERENCE_EVERY:
            write_image(folder / "many-clean" / name_of(number), to_bytes(clean))


if __name__ == "__main__":
    main()
