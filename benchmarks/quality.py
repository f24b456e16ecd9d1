"""Measure how much mottle each method removes and what it preserves: `python -m benchmarks.quality --data DIR`.

Doses and methods on images not used in training, then noise that no method was made for, detail, and texture. Writes
OUT/quality.md (the tables), OUT/quality.json (every figure) and OUT/psnr-against-dose.svg.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.detail import INSERTS, brightness_shift, contrast_kept, flat_field, mottle_of
from benchmarks.lines import lost_and_false_lines
from benchmarks.methods import NLM_ANSCOMBE, WINDOW, WINDOW_INT8, classical, model, window_models
from benchmarks.pages import read_page, write_page
from benchmarks.plots import plot_against_dose
from benchmarks.tables import table
from cxr_infer.cli.exit_status import reports_errors
from cxr_infer.errors import UsageError
from cxr_infer.files import write_bytes
from cxr_infer.formats.readers import read_gray
from cxr_infer.imaging.mottle import repair_wrapped
from cxr_infer.imaging.pixels import FloatImage, to_unit
from cxr_infer.lab.line_response import LEAST_CONTRAST
from cxr_infer.report.terminal import stderr_console
from cxr_train.comparison import (
    NOISY,
    DenoisingMethod,
    ImagesByName,
    NoiseKind,
    Score,
    add_noise,
    compare,
    photon_noise,
    run,
)
from cxr_train.data import SPLITS, XrayImages, find_xrays
from cxr_train.noise import (
    PUBLISHED_PHOTONS_AT_WHITE,
    Detector,
    correlated_mottle,
    published_mottle,
    round_to_steps,
    saturating_mottle,
)

SIZE, NATIVE = 512, 1024  # px
COMMAND = "python -m benchmarks.quality"
DOSES = (20.0, 71.0, 200.0, 600.0)  # photons at white
DETAIL_DOSE = 71.0
DETAIL_IMAGES = 10
DETECTOR = Detector(density=3.3, exposure=1500.0, blur=1.0, electronic=2.5)
BLUR = 1.0  # px, Gaussian spread of quanta on a linear display
GLARE = 0.8  # px, exponential spread of quanta, a shape not used in training
GLARE_RADIUS = 8  # px
STEPS_16_BIT = 65535
OVEREXPOSED = 1.4  # factor that makes a third of the pixels white; released images have few white areas


@dataclass
class QualityReport:
    """All measurements."""

    split: str
    images: int
    by_dose: list[Score] = field(default_factory=list)
    other_noise: list[Score] = field(default_factory=list)
    detail: dict[str, dict[str, float]] = field(default_factory=dict)  # method -> insert -> fraction left
    lines: dict[str, dict[str, float]] = field(default_factory=dict)  # method -> present, lost, false -> per megapixel
    flat: dict[str, dict[str, float]] = field(default_factory=dict)  # method -> figure -> value
    shift: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)  # dose -> bands, of `window`


def by_dose() -> dict[str, NoiseKind]:
    """Return saturating Poisson mottle at each dose."""
    return {f"{dose:.0f} photons": photon_noise(dose) for dose in DOSES}


def glared_normal(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return standard normal noise (H, W) whose quanta spread by exp(-distance / GLARE), like light in a
    scintillator.
    """
    offsets = np.arange(-GLARE_RADIUS, GLARE_RADIUS + 1)
    kernel = np.exp(-np.hypot(offsets[:, None], offsets) / GLARE)
    kernel /= np.sqrt((kernel**2).sum())
    return np.asarray(cv2.filter2D(rng.standard_normal(shape), cv2.CV_64F, kernel, borderType=cv2.BORDER_REFLECT_101))


def other_noise() -> dict[str, NoiseKind]:
    """Return other kinds of noise, all near the published dose."""

    def glared_mottle(clean: FloatImage, rng: np.random.Generator) -> FloatImage:
        noise = np.sqrt(clean / PUBLISHED_PHOTONS_AT_WHITE) * glared_normal(clean.shape, rng)
        return np.clip(clean + noise, 0, 1).astype(np.float32)

    return {
        "published, wraps, then repaired": NoiseKind(
            lambda clean, rng: repair_wrapped(
                to_unit(published_mottle(np.rint(clean * 255).astype("u1"), rng, wrap=True))
            )
        ),
        "detector, quanta blurred 1 px": NoiseKind(DETECTOR.expose),
        "71 photons, quanta blurred 1 px": NoiseKind(
            lambda clean, rng: correlated_mottle(clean, PUBLISHED_PHOTONS_AT_WHITE, BLUR, rng)
        ),
        "detector, quanta spread exponentially, unseen": NoiseKind(
            lambda clean, rng: DETECTOR.expose(clean, rng, glared_normal(clean.shape, rng))
        ),
        "71 photons, quanta spread exponentially, unseen": NoiseKind(glared_mottle),
        "71 photons, 16 bit": NoiseKind(
            lambda clean, rng: saturating_mottle(clean, PUBLISHED_PHOTONS_AT_WHITE, rng), STEPS_16_BIT
        ),
        "none": NoiseKind(lambda clean, rng: clean),
    }


def shifts(
    clean_images: Mapping[str, FloatImage], method: DenoisingMethod
) -> dict[str, list[tuple[float, float, float]]]:
    """Return the brightness shift of a method at every dose, on the images and on overexposed ones."""
    found = {}
    for suffix, factor in (("", 1.0), (", overexposed", OVEREXPOSED)):
        for key, noise in by_dose().items():
            pairs = []
            for name, image in clean_images.items():
                clean = np.minimum(image * np.float32(factor), np.float32(1))
                pairs.append((clean, round_to_steps(run(method, add_noise(noise, name, key, clean), 0.0))))
            found[key + suffix] = brightness_shift(pairs)
    return found


def choose_methods(window: str, only: Sequence[str]) -> dict[str, DenoisingMethod]:
    """Return the classical methods and the models. window: name or .onnx file; only: names to keep, empty for all.

    Raises UsageError for an unknown name.
    """
    methods = {**classical(), "original": model("original"), "new": model("new"), **window_models(window)}
    if unknown := set(only) - set(methods):
        raise UsageError(f"unknown --only {sorted(unknown)[0]!r}; use {', '.join(methods)}")
    return {name: method for name, method in methods.items() if not only or name in {*only, WINDOW}}


def measure(
    images: XrayImages,
    native: XrayImages,
    limit: int,
    split: str,
    methods: Mapping[str, DenoisingMethod],
    say: Callable[[str], None],
) -> QualityReport:
    """Run the whole comparison. native: images of 1024 px, possibly none."""
    clean = ImagesByName(images, limit)
    report = QualityReport(split, len(clean))
    for score in compare(clean, by_dose(), methods):
        say(f"{score.noise}, {score.method}: {score.psnr:.2f} dB, SSIM {score.ssim:.4f}")
        report.by_dose.append(score)

    few = {name: method for name, method in methods.items() if name in (NOISY, NLM_ANSCOMBE, WINDOW, WINDOW_INT8)}
    native_noise = {f"71 photons, {NATIVE} px": by_dose()["71 photons"]}
    large = ImagesByName(native)
    for noises, pictures in ((other_noise(), clean), (native_noise, large)):
        for score in compare(pictures, noises, few) if pictures else ():
            say(f"{score.noise}, {score.method}: {score.psnr:.2f} dB, SSIM {score.ssim:.4f}")
            report.other_noise.append(score)

    local = {name: method for name, method in methods.items() if name not in ("original", "new", NOISY)}
    pictured = list(clean.values())[:DETAIL_IMAGES]
    for name, method in local.items():
        report.detail[name] = contrast_kept(pictured, method, mottle_of(DETAIL_DOSE))
        report.lines[name] = lost_and_false_lines(pictured, method, DETAIL_DOSE)
        report.flat[name] = flat_field(method, DETAIL_DOSE)
        say(f"{name}: kept {report.detail[name]}, lines {report.lines[name]}, flat field {report.flat[name]}")
    report.shift = shifts(clean, methods[WINDOW])
    return report


def _score_table(scores: Sequence[Score], cell: Callable[[Score], str]) -> str:
    methods = list(dict.fromkeys(score.method for score in scores))
    noises = list(dict.fromkeys(score.noise for score in scores))
    cells = {(score.noise, score.method): cell(score) for score in scores}
    return table(["noise", *methods], [[noise, *(cells[noise, method] for method in methods)] for noise in noises])


def to_markdown(report: QualityReport) -> str:
    """Return the tables for the documentation."""
    inserts = list(INSERTS)
    kept = [[name, *(f"{values[i]:.2f}" for i in inserts)] for name, values in report.detail.items()]
    lines = [
        [name, *(f"{values[i]:.0f}" for i in ("present", "lost", "false"))] for name, values in report.lines.items()
    ]
    flat = [
        [name, f"{values['grain_left']:.2f}", f"{values['residual_correlation']:.3f}"]
        for name, values in report.flat.items()
    ]
    bands = [f"{low:.0f}" for _, low, _ in next(iter(report.shift.values()), [])]
    shift = [[dose, *(f"{error:+.2f}" for _, _, error in rows)] for dose, rows in report.shift.items()]
    parts = [
        f"{report.images} {report.split} images, {SIZE}x{SIZE}. PSNR in dB / SSIM; all but the models know the dose.\n",
        _score_table(report.by_dose, lambda s: f"{s.psnr:.2f} / {s.ssim:.4f}"),
        "Other noise. PSNR in dB / SSIM.\n",
        _score_table(report.other_noise, lambda s: f"{s.psnr:.2f} / {s.ssim:.4f}"),
        f"Contrast kept at {DETAIL_DOSE:.0f} photons (1: all).\n",
        table(["method", *inserts], kept),
        f"Lines of {LEAST_CONTRAST:.0f} gray levels or more at {DETAIL_DOSE:.0f} photons, number per megapixel.\n",
        table(["method", "in the clean image", "lost", "false"], lines),
        f"A flat field at {DETAIL_DOSE:.0f} photons: grain left in gray levels, and the residual's autocorrelation.\n",
        table(["method", "grain left", "residual correlation"], flat),
        "`window`: mean error in gray levels by band of clean gray level (its lower end; 255: saturated pixels).\n",
        table(["noise", *bands], shift),
    ]
    return "\n".join(parts)


app = typer.Typer(add_completion=False)


@app.command()
@reports_errors
def main(
    data: Annotated[Path, typer.Option(help="Directory of clean chest X-rays, split by patient.")],
    count: Annotated[int, typer.Option("-n", "--images", min=1, help="Use the first N images.")] = 24,
    split: Annotated[str, typer.Option(help="test, or val to choose between models.")] = "test",
    out: Annotated[Path, typer.Option(help="Directory of the tables, figures and plot.")] = Path("quality"),
    model: Annotated[str, typer.Option(help="`window`, or an .onnx file to measure in its place.")] = WINDOW,
    only: Annotated[list[str] | None, typer.Option(help="Only this method and `window`; may be repeated.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Page whose tables are replaced, such as docs/benchmarks/quality.md.")
    ] = None,
) -> None:
    """Compare `window` with alternatives."""
    if split not in SPLITS:
        raise UsageError(f"unknown --split {split!r}; use {', '.join(SPLITS)}")
    text = read_page(page, COMMAND)
    files = find_xrays(data).require(split)
    native = XrayImages([path for path in files if smaller_side(path) >= NATIVE][: max(count // 3, 1)])
    methods = choose_methods(model, only or ())
    report = measure(XrayImages(files, SIZE), native, count, split, methods, stderr_console().print)
    write_bytes(out / "quality.json", json.dumps(asdict(report), indent=1).encode())
    write_bytes(out / "quality.md", to_markdown(report).encode())
    curves: dict[str, list[float]] = {}
    for score in report.by_dose:
        curves.setdefault(score.method, []).append(score.psnr)
    write_bytes(out / "psnr-against-dose.svg", plot_against_dose(DOSES, curves))
    write_page(page, text, to_markdown(report), COMMAND)
    print(to_markdown(report))


def smaller_side(path: Path) -> int:
    return min(read_gray(path).shape)


if __name__ == "__main__":
    app()
