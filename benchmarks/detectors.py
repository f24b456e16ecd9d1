"""Compare methods on the noise of real detectors: `python -m benchmarks.detectors --data DIR`.

Measured spectra and curves of noise against brightness (`cxr_infer.lab.noise`) on X-rays not used in training: `window`
and classical methods told the true noise, and with --untold also told our own estimate of it. Also small details under
one noise, noise so faint that it may be taken for texture, and with --pair a phantom exposed twice. Writes
OUT/detectors.json and OUT/detectors.md, and with --page the same tables into a page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.detail import contrast_kept
from benchmarks.detector_noise import expose, parse_protocol
from benchmarks.detectors_tables import DetectorReport, DetectorScore, to_markdown
from benchmarks.faint import SDS, halved, smoothed, variance_left
from benchmarks.found import found_over_added
from benchmarks.methods import WINDOW, window_models
from benchmarks.pages import read_page, write_page
from benchmarks.quality import NATIVE, SIZE, STEPS_16_BIT, smaller_side
from benchmarks.second_exposure import contrast_kept as line_pairs_kept
from benchmarks.second_exposure import further_from_truth, in_and_out, read_pair
from benchmarks.stabilised import BM3D, BM3D_UNTOLD, ToldMethod, told_methods, untold_methods
from cxr_infer.cli.exit_status import SOME_FAILED, reports_errors
from cxr_infer.errors import UsageError
from cxr_infer.files import write_bytes
from cxr_infer.imaging.metrics import psnr, ssim
from cxr_infer.imaging.pixels import FloatImage, to_unit
from cxr_infer.lab.line_response import Response, count_lines, line_response
from cxr_infer.lab.noise import DetectorNoise, KnownNoise, load_detectors
from cxr_infer.report.terminal import stderr_console
from cxr_train.comparison import NOISY, noise_generator, run
from cxr_train.data import SPLITS, XrayImages, find_xrays
from cxr_train.noise import round_to_steps

Variants = tuple[ToldMethod, ...]  # variants of one method; the best under each noise counts
Window = Callable[[FloatImage, object], FloatImage]

COMMAND = "python -m benchmarks.detectors"
PUBLISHED_BM3D = Path(__file__).parent / "noise" / "bm3d.json"
SIDE = 384  # px, side of the middle cropped from each X-ray
INNER = (0.02, 0.98)  # brightness range to clip to, to leave room for noise
CANON = "canon_dr_chest"
PROCESSED = ("unsharp", "half", "enlarged4")  # steps measured after CANON
DETAIL_SD = 8.0


def protocols(detectors: Mapping[str, DetectorNoise]) -> list[str]:
    """Return white noise, every detector, and one of them processed."""
    return [*detectors, *(f"{CANON}+{step}" for step in PROCESSED)]


def middle(image: FloatImage) -> FloatImage:
    top, left = ((side - SIDE) // 2 for side in image.shape)
    return np.clip(image[top : top + SIDE, left : left + SIDE], *INNER)


def figures(clean: FloatImage, lines_of_clean: Response, result: FloatImage) -> NDArray[np.float64]:
    """Return PSNR in dB, SSIM, and lines per megapixel: in the clean image, lost, false."""
    lines = count_lines(lines_of_clean, line_response(result)) * (1e6 / clean.size)
    return np.array([psnr(clean, result), ssim(clean, result), *lines])


def score_noise(
    images: Mapping[str, FloatImage],
    detectors: Mapping[str, DetectorNoise],
    protocol: str,
    sd: float,
    methods: Mapping[str, Variants],
) -> Iterator[DetectorScore]:
    """Score every method under one noise. images: name -> clean; sd: gray levels of 255."""
    name, step = parse_protocol(protocol, detectors)
    sums = {method: np.zeros((len(variants), 5)) for method, variants in methods.items()}
    for image, clean in images.items():
        shot = expose(clean, detectors[name], step, sd, noise_generator(image, f"{protocol}/{sd}"))
        noisy, lines_of_clean = round_to_steps(shot.noisy, STEPS_16_BIT), line_response(shot.clean)
        for method, variants in methods.items():
            for index, denoise in enumerate(variants):
                result = round_to_steps(run(denoise, noisy, shot.told), STEPS_16_BIT)
                sums[method][index] += figures(shot.clean, lines_of_clean, result)
    for method, total in sums.items():
        best = total[total[:, 0].argmax()] / len(images)
        decibel, similarity, present, lost, false = (float(value) for value in best)
        yield DetectorScore(f"{protocol}, {sd:g}", method, decibel, similarity, lost, false, present)


def published_bm3d(
    images: Sequence[str], noises: Sequence[str], untold: bool = False
) -> tuple[list[DetectorScore], str]:
    """Return published figures of BM3D and their source; none if they belong to other images.

    untold: whether to include those of BM3D told our estimate.
    """
    published = json.loads(PUBLISHED_BM3D.read_text())
    if list(images) != published["images"]:
        return [], ""
    kinds = {BM3D: "figures", **({BM3D_UNTOLD: "figures_untold"} if untold else {})}
    known = {
        (method, key.replace("@", ", ")): row for method, kind in kinds.items() for key, row in published[kind].items()
    }
    rows = [
        DetectorScore(noise, method, **known[method, noise])
        for noise in noises
        for method in kinds
        if (method, noise) in known
    ]
    source = published["source"] + (f" {published['source_untold']}" if untold else "")
    return rows, source


def detail_kept(pictures: Sequence[FloatImage], methods: Mapping[str, ToldMethod]) -> dict[str, dict[str, float]]:
    """Return the fraction of each insert's contrast left under the noise of CANON. pictures: whole X-rays."""
    canon = load_detectors()[CANON]

    def under_canon(clean: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, KnownNoise]:
        shot = expose(clean, canon, "", DETAIL_SD, rng)
        return shot.noisy, shot.told

    return {name: contrast_kept(pictures, method, under_canon) for name, method in methods.items()}


def faint_noise(native: Sequence[FloatImage], models: Mapping[str, Window]) -> dict[str, dict[str, list[float]]]:
    """Return the variance of faint noise left. native: X-rays at the released size, which are halved."""
    clean = [halved(image) for image in native]
    kinds = {"halved": clean, "halved, smoothed": [smoothed(image) for image in clean]}
    return {
        kind: {name: [variance_left(images, model, sd) for sd in SDS] for name, model in models.items()}
        for kind, images in kinds.items()
    }


def second_exposure(report: DetectorReport, folder: Path, models: Mapping[str, Window]) -> list[str]:
    """Measure the pair in a folder into the report. Returns `method, region` for everything that got worse."""
    first, second = read_pair(folder)
    for name, model in models.items():
        denoised = round_to_steps(model(first, None), STEPS_16_BIT)
        report.pair[name] = in_and_out(first, second, denoised)
        report.line_pairs[name] = line_pairs_kept(first, second, denoised)
    return [f"{name}, {region}" for name, found in report.pair.items() for region in further_from_truth(found)]


def measure(
    images: Mapping[str, FloatImage],
    chosen: Sequence[str],
    sds: Sequence[float],
    models: Mapping[str, Window],
    report: DetectorReport,
    say: Callable[[str], None],
) -> None:
    """Measure noises and details into the report. images: name -> whole clean X-ray, (H, W) in [0, 1]."""
    detectors = load_detectors()
    told = told_methods()
    methods: dict[str, Variants] = {
        NOISY: (lambda noisy, told: noisy,),
        **{name: (model,) for name, model in models.items()},
        **told,
    }
    scored = {**methods, **(untold_methods() if report.untold else {})}
    cut = {name: middle(image) for name, image in images.items()}
    for protocol in chosen:
        for sd in sds:
            for score in score_noise(cut, detectors, protocol, sd, scored):
                lines = f"lost {score.lost:.0f}, false {score.false:.0f}"
                say(f"{score.noise}, {score.method}: {score.psnr:.2f} dB, {lines}")
                report.scores.append(score)
            report.found[f"{protocol}, {sd:g}"] = found_over_added(cut, detectors, protocol, sd)
    if BM3D not in told:
        noises = list(dict.fromkeys(score.noise for score in report.scores))
        rows, report.published = published_bm3d(report.images, noises, report.untold)
        report.scores += rows
    report.detail_noise = f"the noise of {CANON} at sd {DETAIL_SD:g}"
    report.detail = detail_kept(list(images.values()), {name: variants[0] for name, variants in methods.items()})


def read_sds(text: str) -> list[float]:
    """Parse `8,3` to [8.0, 3.0]. Raises UsageError if it is not a list of positive numbers up to 255."""
    try:
        sds = [float(part) for part in text.split(",")]
    except ValueError:
        sds = []
    if not sds or not all(0 < sd <= 255 for sd in sds):
        raise UsageError(f"--sd {text!r} is invalid; use gray levels above 0 and up to 255, such as 8,3")
    return sds


app = typer.Typer(add_completion=False)


@app.command()
@reports_errors
def main(
    data: Annotated[Path, typer.Option(help="Directory of clean chest X-rays, split by patient.")],
    sd: Annotated[str, typer.Option(help="Root mean square noise in gray levels of 255, separated by commas.")] = "8,3",
    count: Annotated[int, typer.Option("-n", "--images", min=1, help="Use the first N images by name.")] = 6,
    split: Annotated[str, typer.Option(help="test, or val to choose between models.")] = "test",
    protocol: Annotated[list[str] | None, typer.Option(help="Only this noise; may be repeated.")] = None,
    pair: Annotated[
        Path | None, typer.Option(help="Folder of one phantom exposed twice; exit 1 if it gets worse.")
    ] = None,
    model: Annotated[str, typer.Option(help="`window`, or an .onnx file to measure in its place.")] = WINDOW,
    untold: Annotated[
        bool, typer.Option("--untold", help="The classical methods told our estimate of the noise as well.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Directory of the tables and figures.")] = Path("detectors"),
    page: Annotated[
        Path | None, typer.Option(help="Page whose tables are replaced, such as docs/benchmarks/detectors.md.")
    ] = None,
) -> None:
    """Compare `window` with classical methods on measured noise."""
    if split not in SPLITS:
        raise UsageError(f"unknown --split {split!r}; use {', '.join(SPLITS)}")
    sds, detectors, text = read_sds(sd), load_detectors(), read_page(page, COMMAND)
    chosen = protocol or protocols(detectors)
    for name in chosen:
        parse_protocol(name, detectors)
    files = sorted(find_xrays(data).require(split), key=lambda path: path.name)
    xrays = XrayImages(files, SIZE)
    images = {xrays.files[i].stem: to_unit(xrays[i]) for i in range(min(count, len(xrays)))}
    native = XrayImages([path for path in files if smaller_side(path) >= NATIVE][:count])
    models, say = window_models(model), stderr_console().print
    report = DetectorReport(split, list(images), SIDE, faint_images=len(native), untold=untold)
    worse = second_exposure(report, pair, models) if pair else []
    measure(images, chosen, sds, models, report, say)
    if not len(native):
        say(f"no {split} X-ray of {NATIVE} px or more; faint noise not measured")
    else:
        report.faint = faint_noise([to_unit(native[i]) for i in range(len(native))], models)
    tables = to_markdown(report, NOISY)
    write_bytes(out / "detectors.json", json.dumps(asdict(report), indent=1).encode())
    write_bytes(out / "detectors.md", tables.encode())
    write_page(page, text, tables, COMMAND)
    print(tables)
    if worse:
        say(f"worse than before denoising: {'; '.join(worse)}")
        raise typer.Exit(SOME_FAILED)


if __name__ == "__main__":
    app()
