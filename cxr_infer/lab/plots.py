"""Draw the curves of findings as PNG files on white, for a talk or a paper. Needs matplotlib."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command
from cxr_infer.lab.axes import conditions, label_of, scale_of, shown_tick
from cxr_infer.lab.chart import drawn_words, looks_of
from cxr_infer.lab.findings import Finding, Series
from cxr_infer.model.card import RESEARCH_USE

DPI = 150
PANEL = (4.4, 3.4)  # inches
MOST_ACROSS = 3  # panels
MOST_TICKS = 8  # at data points
MARKS = "osD^vP*X"


def plots(findings: Sequence[Finding]) -> Iterator[tuple[str, bytes]]:
    """Yield file name and content for each finding with curves. Raises UsageError without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError(f"plots need matplotlib; run: {install_command('lab')}") from error
    matplotlib.use("agg")
    looks = looks_of(findings)
    for finding in findings:
        if finding.series:
            yield f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', finding.key)}.png", _plot(finding, looks)


def _plot(finding: Finding, looks: Mapping[str, int]) -> bytes:
    from matplotlib import pyplot

    names = conditions([(each.method, each.condition) for each in finding.series])
    across = min(len(names), MOST_ACROSS)
    down = math.ceil(len(names) / across)
    size = (PANEL[0] * across, PANEL[1] * down + 0.9)
    figure, panels = pyplot.subplots(down, across, figsize=size, squeeze=False, sharex=True, sharey=True)
    for panel, condition in zip(panels.flat, names, strict=False):
        for each in finding.series:
            if each.condition == condition:
                _draw(panel, each, looks[each.method])
        panel.set_title(condition, fontsize=9)
        _label_axes(panel, finding)
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    handles = {label: handle for panel in panels.flat for handle, label in zip(*_legend(panel), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=min(5, len(handles)), fontsize=8)
    figure.suptitle(f"{finding.title}\nn = {drawn_words(finding)}, seed {finding.seed}. {RESEARCH_USE}", fontsize=9)
    figure.tight_layout(rect=(0, 0.35 / size[1], 1, 1))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    pyplot.close(figure)
    return stream.getvalue()


def _draw(panel: Any, series: Series, index: int) -> None:
    values = [y.value for y in series.y]
    below = [max(0.0, y.value - y.low) if math.isfinite(y.low) else 0.0 for y in series.y]
    above = [max(0.0, y.high - y.value) if math.isfinite(y.high) else 0.0 for y in series.y]
    mark = MARKS[index % len(MARKS)] if len(values) < 30 else None
    panel.errorbar(
        series.x,
        values,
        (below, above),
        color=f"C{index}",
        marker=mark,
        markersize=4,
        linewidth=1.2,
        capsize=2,
        label=series.method,
    )


def _legend(panel: Any) -> tuple[list[Any], list[str]]:
    handles, labels = panel.get_legend_handles_labels()
    return handles, labels


def _label_axes(panel: Any, finding: Finding) -> None:
    panel.set_xlabel(label_of(finding.x), fontsize=9)
    panel.set_ylabel(label_of(finding.y), fontsize=9)
    places = sorted({x for each in finding.series for x in each.x})
    values = [end for each in finding.series for y in each.y for end in (y.value, y.low, y.high)]
    if finding.x.logarithmic:
        ticks = places if len(places) <= MOST_TICKS else scale_of(finding.x, places).ticks()
        panel.set_xscale("log")
        panel.set_xticks(ticks, [shown_tick(tick) for tick in ticks])
        panel.xaxis.minorticks_off()
    if finding.y.logarithmic:
        ticks = scale_of(finding.y, values).ticks()
        panel.set_yscale("log")
        panel.set_yticks(ticks, [shown_tick(tick) for tick in ticks])
        panel.yaxis.minorticks_off()
    panel.label_outer()
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)
