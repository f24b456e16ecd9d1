"""Take the screenshots of the browser page for the docs: `python docs/make_web_pictures.py`, after `npm run build`.

The browser test takes them; this script shrinks them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
PAGE = DOCS.parent / "examples" / "web"
WIDTHS = {"web-before": 720, "web-after": 720, "web-error": 720, "web-phone": 270}  # px
GRAYS = 48  # even steps, so that no shade of the X-ray is tinted; a quarter of the bytes of all 256
SURFACES = ((12, 14, 17), (20, 24, 29), (43, 50, 58), (107, 118, 130), (165, 175, 185), (228, 232, 236))
ACCENT, ALARM, ALARMED = (242, 180, 92), (255, 180, 166), (42, 21, 18)
SHADES = (0.4, 0.6, 0.8, 1.0)  # of the accent and the alarm, where their edges are smoothed


def palette() -> Image.Image:
    grays = [(round(i * 255 / (GRAYS - 1)),) * 3 for i in range(GRAYS)]
    shades = [tuple(round(share * part) for part in colour) for colour in (ACCENT, ALARM) for share in SHADES]
    image = Image.new("P", (1, 1))
    image.putpalette([part for colour in (*grays, *SURFACES, ALARMED, *shades) for part in colour])
    return image


def shrink(source: Path, target: Path, width: int) -> None:
    with Image.open(source) as screenshot:
        height = round(screenshot.height * width / screenshot.width)
        small = screenshot.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    small.quantize(palette=palette(), dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "test"], cwd=PAGE, env={**os.environ, "PICTURES": folder}, check=True)
        for name, width in WIDTHS.items():
            shrink(Path(folder) / f"{name}.png", DOCS / "pictures" / f"{name}.png", width)


if __name__ == "__main__":
    main()
