"""Draw the pictures of the docs, all from the phantom: `python docs/make_pictures.py`.

Needs the package bm3d, and chromium for the picture of the report. `python docs/make_pictures.py report` draws only
that picture, `python docs/make_pictures.py detectors` only the one of measured detector noise.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from benchmarks.detector_noise import expose
from benchmarks.methods import BM3D, NLM_ANSCOMBE, classical
from benchmarks.stabilised import NLM_STRENGTHS
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.figure import Panel, describe, draw_figure
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import to_bytes, to_unit
from cxr_infer.lab.classical import non_local_means
from cxr_infer.lab.noise import load_detectors
from cxr_infer.model.denoiser import Model, load_model
from cxr_infer.settings import Settings

PICTURES = Path(__file__).parent / "pictures"
SEED, SIZE, DOSE = 3, 512, 70.83  # phantom, px, photons at white of the published noise
CROP = 80  # px
ZOOM, ZOOMED = 110, ("nodule and vessels", "catheter")  # px; which details
DETECTOR_DETAIL = "nodule and vessels"
DETECTORS, DETECTOR_SD = {"Canon DR": "canon_dr_chest", "GE DR, processed": "ge_dr_knee"}, 8.0  # gray levels of 255
REPORT_SIZE, REPORT_WIDTH = (1360, 1740), 720  # px: size of the page in the browser, width of its picture
COLOURS = 128  # of that picture
TEXT, TEXT_AT = "AP PORTABLE 07:45", (300, 500)  # burnt in, as on many radiographs; x and y of its baseline in px
DETAILS = {
    "lead marker": (42, 452),
    "burnt-in text": (480, 350),
    "catheter": (140, 205),
    "nodule and vessels": (200, 195),
    "vessels and ribs": (235, 385),
}

Image = NDArray[np.float32]


def draw_before_and_after(clean: Image, noisy: Image, denoised: Image) -> None:
    panels = [
        Panel("noisy, 71 photons at white", noisy, describe(clean, noisy)),
        Panel("cxr-infer, window", denoised, describe(clean, denoised)),
        Panel("clean reference", clean),
    ]
    write_image(PICTURES / "before-after.png", draw_figure(panels, centre=DETAILS["nodule and vessels"]))


def draw_details(clean: Image, noisy: Image, denoised: Image, clean_through: Image) -> None:
    columns = {"clean": clean, "noisy": noisy, "window": denoised, "clean image through window": clean_through}
    panels = []
    for detail, (row, column) in DETAILS.items():
        half = CROP // 2
        for title, image in columns.items():
            crop = image[row - half : row + half, column - half : column + half]
            panels.append(Panel(f"{detail}: {title}" if title == "clean" else title, crop))
    write_image(PICTURES / "details.png", draw_figure(panels, columns=len(columns), inset=False, panel=260))


def draw_zoom(clean: Image, noisy: Image, denoised: Image) -> None:
    """Draw noisy, best classical method, ours and clean, enlarged."""
    methods = classical()
    best = BM3D if BM3D in methods else NLM_ANSCOMBE
    columns = {"noisy": noisy, best: methods[best](noisy, DOSE), "cxr-infer, window": denoised, "clean": clean}
    panels = [panel for detail in ZOOMED for panel in zoomed(columns, DETAILS[detail])]
    write_image(PICTURES / "zoom.png", draw_figure(panels, columns=len(columns), inset=False, panel=ZOOM * 3))


def zoomed(columns: dict[str, Image], centre: tuple[int, int]) -> list[Panel]:
    """Return a panel of each image around one place, with its figures against the image `clean`."""
    row, column = centre
    half = ZOOM // 2
    return [
        Panel(
            title,
            image[row - half : row + half, column - half : column + half],
            describe(columns["clean"], image)[1:] if title != "clean" else (),
        )
        for title, image in columns.items()
    ]


def draw_detectors(clean: Image, model: Model) -> None:
    """Draw measured noise of two detectors: noisy, non-local means given the true noise, ours and clean."""
    panels: list[Panel] = []
    for title, name in DETECTORS.items():
        shot = expose(clean, load_detectors()[name], "", DETECTOR_SD, np.random.default_rng(SEED))
        noisy = to_unit(to_bytes(shot.noisy))
        columns = {
            f"{title}, noisy": noisy,
            "NLM, told the noise": non_local_means(NLM_STRENGTHS[0])(noisy, shot.told),
            "cxr-infer, window": to_unit(to_bytes(model.denoise_unit(noisy, Settings()))),
            "clean": shot.clean,
        }
        panels += zoomed(columns, DETAILS[DETECTOR_DETAIL])
    write_image(PICTURES / "detectors.png", draw_figure(panels, columns=4, inset=False, panel=ZOOM * 3))


def draw_report() -> None:
    """Draw the page of `cxr-infer dir --report` for sample phantoms, rendered by chromium and reduced in size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in (
            ["sample", "xrays", "--size", str(SIZE)],
            ["dir", "xrays", "--reference", "xrays-clean", "--quiet", "--report", "report.html"],
        ):
            subprocess.run(["cxr-infer", *arguments], cwd=folder, check=True)
        size = f"--window-size={REPORT_SIZE[0]},{REPORT_SIZE[1]}"
        browser = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=9000", size]
        subprocess.run(
            [*browser, "--screenshot=page.png", (folder / "report.html").as_uri()],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        with PillowImage.open(folder / "page.png") as page:
            small = page.convert("RGB").resize((REPORT_WIDTH, REPORT_SIZE[1] * REPORT_WIDTH // REPORT_SIZE[0]))
    small.quantize(COLOURS, PillowImage.Quantize.MAXCOVERAGE, dither=PillowImage.Dither.NONE).save(
        PICTURES / "report.png", optimize=True
    )


def main() -> None:
    wanted = sys.argv[1:]
    if wanted != ["detectors"]:
        draw_report()
    if wanted == ["report"]:
        return
    drawn = to_bytes(render_phantom(SEED, SIZE))
    cv2.putText(drawn, TEXT, TEXT_AT, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 40, 1, cv2.LINE_AA)
    clean = to_unit(drawn)
    noisy = to_unit(to_bytes(poisson_mottle(clean, DOSE, np.random.default_rng(SEED))))
    model = load_model("window")
    draw_detectors(clean, model)
    if wanted == ["detectors"]:
        return
    denoised, clean_through = (to_unit(to_bytes(model.denoise_unit(image, Settings()))) for image in (noisy, clean))
    draw_before_and_after(clean, noisy, denoised)
    draw_details(clean, noisy, denoised, clean_through)
    draw_zoom(clean, noisy, denoised)


if __name__ == "__main__":
    main()
