"""The figures of `benchmarks.detectors`, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.detail import INSERTS
from benchmarks.faint import SDS, SMOOTHED
from benchmarks.tables import table
from cxr_infer.lab.line_response import LEAST_CONTRAST


@dataclass(frozen=True)
class DetectorScore:
    """One method under one noise, mean over the images. psnr: dB; lines: per megapixel, `present` None if only
    published.
    """

    noise: str
    method: str
    psnr: float
    ssim: float
    lost: float
    false: float
    present: float | None = None


@dataclass
class DetectorReport:
    """All measurements. Methods are those of the tables; fractions are of 1."""

    split: str
    images: list[str]
    side: int  # px, side of the cropped square
    scores: list[DetectorScore] = field(default_factory=list)
    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # noise -> images -> found over added
    detail_noise: str = ""
    detail: dict[str, dict[str, float]] = field(default_factory=dict)  # method -> insert -> fraction left
    faint: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # images -> method -> fraction left at SDS
    faint_images: int = 0
    pair: dict[str, dict[str, tuple[float, float]]] = field(
        default_factory=dict
    )  # method -> region -> dB before, after
    line_pairs: dict[str, dict[str, float]] = field(default_factory=dict)  # method -> region -> fraction left
    published: str = ""  # source of figures that were not measured
    untold: bool = False  # whether classical methods were also told our estimate


def _by_noise(scores: Sequence[DetectorScore], first: str, cell: Callable[[DetectorScore], str]) -> str:
    """Return a row per noise, a column per method. first: the method whose column has other contents."""
    methods = list(dict.fromkeys(score.method for score in scores if score.method != first))
    cells = {(score.noise, score.method): cell(score) for score in scores}
    noises = list(dict.fromkeys(score.noise for score in scores))
    return table(
        ["noise, sd in gray levels", first, *methods],
        [[noise, *(cells.get((noise, method), "-") for method in (first, *methods))] for noise in noises],
    )


def _scores(report: DetectorReport, noisy: str) -> list[str]:
    def lines(score: DetectorScore) -> str:
        if score.method == noisy:
            return f"{score.present:.0f}"
        return f"{score.lost:.0f} / {score.false:.0f}"

    shown = [_by_noise(report.scores, noisy, lambda s: f"{s.psnr:.2f} / {s.ssim:.4f}")]
    counted = _by_noise(report.scores, noisy, lines).replace(f"| {noisy} |", "| in the clean image |", 1)
    text = (
        f"{len(report.images)} {report.split} X-rays, the middle {report.side}x{report.side} px, 16-bit pixels. "
        "PSNR in dB / SSIM. NLM and BM3D work on the stabilised image, told the true curve and spectrum; NLM is the "
        "better of two strengths. `window` is told nothing."
    )
    if report.untold:
        text += (
            " Told our estimate: what `estimate_mottle` finds in the noisy image, the X-ray's own grain included; "
            "where it is unsure, the image stays as it is."
        )
    if report.published:
        text += f" BM3D was not run: {report.published}"
    return [
        text + "\n",
        *shown,
        f"Lines of {LEAST_CONTRAST:.0f} gray levels or more per megapixel: in the clean image; lost / false. A line is "
        "lost if denoising leaves less than half its contrast, false if the clean image shows less than half of it.\n",
        counted,
    ]


def _found(report: DetectorReport) -> list[str]:
    def cell(ratios: list[float]) -> str:
        return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    kinds = list(next(iter(report.found.values())))
    rows = [[noise, *(cell(found[kind]) for kind in kinds)] for noise, found in report.found.items()]
    return [
        "Noise found by `estimate_mottle` over the noise added, standard deviations: median (least to most) of these "
        f"X-rays as they are, and smoothed by a Gaussian of {SMOOTHED:g} px before the exposure, which removes the "
        "grain that they have themselves.\n",
        table(["noise, sd in gray levels", *kinds], rows),
    ]


def _detail(report: DetectorReport) -> list[str]:
    rows = [[method, *(f"{kept[i]:.2f}" for i in INSERTS)] for method, kept in report.detail.items()]
    return [
        f"Fraction of a small, faint object's contrast that survives under {report.detail_noise} (8-bit pixels).\n",
        table(["method", *INSERTS], rows),
    ]


def _faint(report: DetectorReport) -> list[str]:
    rows = [
        [images, method, *(f"{share:.0%}" for share in shares)]
        for images, by_method in report.faint.items()
        for method, shares in by_method.items()
    ]
    return [
        f"Variance of faint white noise left, by its sd in gray levels; {report.faint_images} X-rays of 1024 px, "
        f"halved, unchanged and smoothed by a Gaussian of {SMOOTHED:g} px, which removes their own noise.\n",
        table(["images", "method", *(f"sd {sd:g}" for sd in SDS)], rows),
    ]


def _pair(report: DetectorReport) -> list[str]:
    regions = list(next(iter(report.pair.values())))
    places = list(next(iter(report.line_pairs.values())))
    rows = [
        [method, *(f"{measured[r][0]:.2f} to {measured[r][1]:.2f}" for r in regions)]
        + [f"{report.line_pairs[method][p]:.2f}" for p in places]
        for method, measured in report.pair.items()
    ]
    return [
        "A phantom exposed twice: PSNR in dB against the truth, of a frame before and after denoising, by region; then "
        "the fraction of the line pairs' contrast left.\n",
        table(["method", *regions, *(f"pairs, {place}" for place in places)], rows),
    ]


def to_markdown(report: DetectorReport, noisy: str) -> str:
    """Return the tables. noisy: the name under which the noisy images are scored."""
    parts = _scores(report, noisy)
    if report.found:
        parts += _found(report)
    if report.detail:
        parts += _detail(report)
    if report.faint:
        parts += _faint(report)
    if report.pair:
        parts += _pair(report)
    return "\n".join(parts)
