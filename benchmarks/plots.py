"""Plots of numbers for the documentation."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt

OUR_METHOD = "window"


def plot_against_dose(doses: Sequence[float], curves: Mapping[str, Sequence[float]]) -> bytes:
    """Plot PSNR in dB of each method against photons at white, as an SVG reproducible to the byte."""
    with _drawing() as axes:
        for name, psnr in curves.items():
            ours = name == OUR_METHOD
            emphasis = {"color": "black", "linewidth": 2.8, "zorder": 3} if ours else {"linewidth": 1.3}
            axes.plot(doses, psnr, marker="o", label=name, **emphasis)
        axes.set_xscale("log")
        axes.set_xticks(doses, [f"{dose:.0f}" for dose in doses])
        axes.set_xlabel("dose, photons at white")
        axes.set_ylabel("PSNR, dB")
        return _svg(axes)


def plot_time_against_size(sides: Sequence[int], ours: Sequence[float], peers: Mapping[str, float]) -> bytes:
    """Plot seconds per megapixel against the side in px as an SVG: ours as a line, each peer as measured at one
    size.
    """
    with _drawing() as axes:
        axes.plot(sides, ours, marker="o", color="black", linewidth=2.8, zorder=3, label="cxr-infer dir")
        for index, (name, seconds) in enumerate(sorted(peers.items(), key=lambda item: -item[1])):
            axes.axhline(seconds, color=f"C{index}", linewidth=1.3, linestyle="--", label=name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sides, [f"{side}" for side in sides])
        axes.set_xlabel("side of the image, px")
        axes.set_ylabel("seconds a megapixel")
        return _svg(axes)


@contextmanager
def _drawing() -> Iterator[Any]:
    """Yield the axes of a figure with the common size and style."""
    with plt.rc_context({"svg.hashsalt": "cxr-infer", "svg.fonttype": "none", "font.size": 11}):
        figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
        yield axes
        plt.close(figure)


def _svg(axes: Any) -> bytes:
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    stream = io.BytesIO()
    axes.figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
