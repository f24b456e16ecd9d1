"""The histogram of the report, as SVG styled by the page."""

from __future__ import annotations

from cxr_infer.report.html.statistics import Histogram

WIDTH, HEIGHT = 560, 240  # px, scaled to the page
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 24, 46  # px, margins that hold the labels
INNER_WIDTH, INNER_HEIGHT, BASE = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
GAP = 1.5  # px between bars
MOST_TICKS = 6


def chart(counted: Histogram, mean: float) -> str:
    """Draw bars, axes with units, and a mark at the mean."""
    start, width, bins = counted.start, counted.width, len(counted.counts)
    edges = [start + index * width for index in range(bins + 1)]
    most = max(counted.counts)

    def across(value: float) -> float:
        return LEFT + INNER_WIDTH * (value - start) / (edges[-1] - start)

    bars = "".join(
        f'<rect class="bar" x="{across(low) + GAP / 2:.1f}" y="{BASE - INNER_HEIGHT * count / most:.1f}" '
        f'width="{INNER_WIDTH / bins - GAP:.1f}" height="{INNER_HEIGHT * count / most:.1f}">'
        f"<title>{low:.4g} to {high:.4g} gray levels: {count}</title></rect>"
        for low, high, count in zip(edges, edges[1:], counted.counts, strict=False)
        if count
    )
    ticks = "".join(_label(across(edge), BASE + 17, f"{edge:.4g}") for edge in edges[:: -(-bins // MOST_TICKS)])
    x = across(mean)
    left_half = x < WIDTH / 2
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="chart-title">'
        f'<title id="chart-title">Histogram of the mottle removed, {start:.4g} to {edges[-1]:.4g} gray levels, '
        f"mean {mean:.1f}</title>"
        f'<line class="axis" x1="{LEFT}" y1="{BASE}" x2="{WIDTH - RIGHT}" y2="{BASE}"/>'
        f'<line class="grid" x1="{LEFT}" y1="{TOP}" x2="{WIDTH - RIGHT}" y2="{TOP}"/>'
        f"{bars}{ticks}"
        f"{_label(LEFT - 8, TOP + 5, str(most), 'end')}{_label(LEFT - 8, BASE + 1, '0', 'end')}"
        f'<line class="mean" x1="{x:.1f}" y1="{TOP - 18}" x2="{x:.1f}" y2="{BASE}"/>'
        + _label(x + (6 if left_half else -6), TOP - 8, f"mean {mean:.1f}", "start" if left_half else "end", "mean")
        + _label(LEFT + INNER_WIDTH / 2, HEIGHT - 6, "mottle removed, gray levels of 0..255")
        + f'<g transform="translate(12 {TOP + INNER_HEIGHT / 2:.0f}) rotate(-90)">{_label(0, 0, "images")}</g></svg>'
    )


def _label(x: float, y: float, content: str, anchor: str = "middle", kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'
