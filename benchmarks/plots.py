"""Plots of numbers for the README."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt

OURS = "window"


def plot_against_dose(doses: Sequence[float], curves: Mapping[str, Sequence[float]]) -> bytes:
    """PSNR in dB of each method against photons at white, as an SVG that is the same for the same figures."""
    with plt.rc_context({"svg.hashsalt": "cxr-infer", "svg.fonttype": "none", "font.size": 11}):
        figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
        for name, psnr in curves.items():
            ours = name == OURS
            emphasis = {"color": "black", "linewidth": 2.8, "zorder": 3} if ours else {"linewidth": 1.3}
            axes.plot(doses, psnr, marker="o", label=name, **emphasis)
        axes.set_xscale("log")
        axes.set_xticks(doses, [f"{dose:.0f}" for dose in doses])
        axes.minorticks_off()
        axes.set_xlabel("dose, photons at white")
        axes.set_ylabel("PSNR, dB")
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        plt.close(figure)
    return stream.getvalue()
