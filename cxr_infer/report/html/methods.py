"""What was done, as the methods section of a paper says it: version, model, precision, settings, numbers of images."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Any

from cxr_infer.model.card import CITATION, FP32, INT8, MODEL_NAMES
from cxr_infer.report.html.statistics import RunStatistics, deviation, mean
from cxr_infer.report.results import Summary

WORDS = {FP32: "32-bit floating point (fp32)", INT8: "8-bit integers (int8)"}
TRAINED_ON = CITATION.partition(", https:")[0]  # a page that loads nothing has no addresses
SSIM_SOURCE = "Gaussian window of 1.5 px; Wang et al., IEEE Trans. Image Process. 13(4), 2004"


def methods(head: dict[str, Any], summary: Summary, statistics: RunStatistics) -> list[str]:
    """Paragraphs without markup. head: as `json_file.describe_run` gives it."""
    sentences = (_denoising(head), _images(summary), _noise(statistics), _quality(statistics), _tools(head))
    paragraphs = [" ".join(chain.from_iterable(sentences))]
    precision = head["model"]["precision"]
    if precision in WORDS:
        paragraphs.append(
            f"To repeat this on any CPU, give --precision {precision}: without it, int8 is taken where the CPU is made "
            "for it and fp32 elsewhere, and their results differ a little."
        )
    if head["model"]["name"] in MODEL_NAMES:
        paragraphs.append(f"The shipped models were trained on: {TRAINED_ON}.")
    return paragraphs


def _denoising(head: dict[str, Any]) -> Iterator[str]:
    model, settings = head["model"], head["settings"]
    precision = WORDS.get(model["precision"], model["precision"])
    yield (
        f"Images were denoised with cxr-infer {head['versions'].get('cxr-infer', '')} (MIT licence), "
        f"model {model['name']} in {precision}, SHA-256 {model['sha256']}, "
        f"at strength {settings['strength']:g} (1 removes all the noise found)."
    )
    if settings.get("window") is not None or settings.get("overlap") is not None:
        sides = [f"{name} {value} px" for name in ("window", "overlap") if (value := settings.get(name)) is not None]
        yield f"Windows: {', '.join(sides)}."
    if settings.get("repair_wrapped"):
        yield "Values that had wrapped around were set to white first."
    if settings.get("white") is not None:
        yield f"The stored value {settings['white']} was taken as white."
    if settings.get("invert"):
        yield "Black and white were swapped for the model."


def _images(summary: Summary) -> Iterator[str]:
    total = summary.done + summary.failed + summary.skipped + summary.pending
    rest = ((summary.skipped, "skipped"), (summary.failed, "failed"), (summary.pending, "not begun"))
    others = "".join(f", {count} {word}" for count, word in rest if count)
    yield f"Images: {total}, of which {summary.done} denoised in this run{others}."


def _noise(statistics: RunStatistics) -> Iterator[str]:
    if not statistics.before:
        return
    yield (
        "Noise was estimated from each image itself, as its standard deviation in gray levels of 0 to 255 "
        f"as displayed: {_spread(statistics.before, 1)} before and {_spread(statistics.after, 1)} after "
        f"(mean, SD in brackets, n = {len(statistics.before)})."
    )
    if statistics.stays:
        yield f"Images that keep most of their noise, which the model leaves, are included ({statistics.stays})."
    if statistics.unsure:
        yield f"Images whose noise could not be told from structure are not ({statistics.unsure})."


def _quality(statistics: RunStatistics) -> Iterator[str]:
    if not statistics.psnr:
        return
    yield (
        f"Against clean references of the same names, PSNR was {_spread(statistics.psnr, 2)} dB and SSIM "
        f"{_spread(statistics.ssim, 4)} (mean, SD in brackets, n = {len(statistics.psnr)}; data range from black to "
        f"white as displayed; SSIM: {SSIM_SOURCE})."
    )


def _tools(head: dict[str, Any]) -> Iterator[str]:
    others = [f"{name} {version}" for name, version in head["versions"].items() if name != "cxr-infer"]
    if others:
        yield f"Computed on a CPU with {', '.join(others)}."


def _spread(values: array[float], digits: int) -> str:
    spread = deviation(values)
    return f"{mean(values):.{digits}f}" + ("" if spread is None else f" ({spread:.{digits}f})")
