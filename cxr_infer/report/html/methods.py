"""The methods paragraph for a paper: version, model, precision, settings and numbers of images."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Any

from cxr_infer.model.card import CITATION, FP32, INT8, MODEL_NAMES
from cxr_infer.report.columns import BY_KEY, QUALITY, Column, on_page
from cxr_infer.report.html.statistics import RunStatistics, deviation, mean
from cxr_infer.report.results import Summary

WORDS = {FP32: "32-bit floating point (fp32)", INT8: "8-bit integers (int8)"}
TRAINED_ON = CITATION.partition(", https:")[0]  # a page that loads nothing has no addresses
SSIM_SOURCE = "Gaussian window of 1.5 px; Wang et al., IEEE Trans. Image Process. 13(4), 2004"


def methods(head: dict[str, Any], summary: Summary, statistics: RunStatistics) -> list[str]:
    """Return paragraphs without markup. head: from `json_file.describe_run`."""
    sentences = (_denoising(head), _images(summary), _noise(statistics), _quality(statistics), _tools(head))
    paragraphs = [" ".join(chain.from_iterable(sentences))]
    precision = head["model"]["precision"]
    if precision in WORDS:
        paragraphs.append(
            f"To reproduce this on any CPU, use --precision {precision}. By default, int8 is used if it is fast on the "
            "CPU, and fp32 otherwise; their results differ slightly."
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
        f"at strength {settings['strength']:g} (1 removes all detected noise)."
    )
    if settings.get("window") is not None or settings.get("overlap") is not None:
        sides = [f"{name} {value} px" for name in ("window", "overlap") if (value := settings.get(name)) is not None]
        yield f"Windows: {', '.join(sides)}."
    if settings.get("repair_wrapped"):
        yield "Wrapped values were set to white first."
    if settings.get("white") is not None:
        yield f"The stored value {settings['white']} was taken as white."
    if settings.get("invert"):
        yield "Black and white were swapped for denoising."


def _images(summary: Summary) -> Iterator[str]:
    total = summary.done + summary.failed + summary.skipped + summary.pending
    rest = ((summary.skipped, "skipped"), (summary.failed, "failed"), (summary.pending, "not begun"))
    others = "".join(f", {count} {word}" for count, word in rest if count)
    yield f"Images: {total} in total, {summary.done} denoised in this run{others}."


def _noise(statistics: RunStatistics) -> Iterator[str]:
    before, after = (statistics.values[key] for key in ("mottle_before", "mottle_after"))
    if not before:
        return
    yield (
        "Noise was estimated from each image as its standard deviation in gray levels of 0 to 255 "
        f"as displayed: {_spread(BY_KEY['mottle_before'], before)} before and "
        f"{_spread(BY_KEY['mottle_after'], after)} after (mean, SD in brackets, n = {len(before)})."
    )
    if statistics.stays:
        yield f"This includes images in which most noise was left by the model ({statistics.stays})."
    if statistics.unsure:
        yield f"It excludes images whose noise could not be separated from structure ({statistics.unsure})."


def _quality(statistics: RunStatistics) -> Iterator[str]:
    told = [(column, statistics.values[column.key]) for column in on_page(True) if column.mean is QUALITY]
    measured = len(statistics.values["psnr"])
    if not measured:
        return
    figures = [
        " ".join(filter(None, (column.heading, "was" if not index else "", _spread(column, values), column.unit)))
        for index, (column, values) in enumerate(told)
    ]
    yield (
        f"Against clean references, {' and '.join(figures)} (mean, SD in brackets, n = {measured}; "
        f"data range from black to white as displayed; SSIM: {SSIM_SOURCE})."
    )


def _tools(head: dict[str, Any]) -> Iterator[str]:
    others = [f"{name} {version}" for name, version in head["versions"].items() if name != "cxr-infer"]
    if others:
        threads = f" (threads: {head['threads']})" if "threads" in head else ""
        yield f"Computed on {head.get('cpu', 'a CPU')}{threads} with {', '.join(others)}."


def _spread(column: Column, values: array[float]) -> str:
    spread = deviation(values)
    return column.words(mean(values)) + ("" if spread is None else f" ({column.words(spread)})")
