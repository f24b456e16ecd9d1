"""Draw the curves of a finding as unstyled SVG: a panel per condition, a line per method.

Methods differ in colour, dashes and marker shape, so that they can be told apart without colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from cxr_infer.lab.axes import AxisScale, conditions, label_of, scale_of, shown_number, shown_tick
from cxr_infer.lab.findings import Estimate, Finding, Series
from cxr_infer.report.html.markup import text

WIDTH, HEIGHT = 430, 300  # px, scaled to the page
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 36, 52  # px, margins that hold the labels
INNER_WIDTH, INNER_HEIGHT, BASE = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
MARK = 3.6  # px, half the size of a mark
LOOKS = 8  # distinct styles, then they repeat
CAP = 3.0  # px, half the width of an error bar's caps
MOST_PLACES, LEAST_APART = 8, 34.0  # maximum number of ticks at data points, and minimum px between them
NO_DRAW = "exact"  # shown as n if nothing was drawn
MOST_MARKS = 24  # points per curve with markers and error bars; more are drawn as a band

CORNERS: tuple[tuple[tuple[float, float], ...], ...] = (  # of square, triangle and diamond, in halves of a mark
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
    ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
)

Points = list[tuple[float, float, Estimate, float]]  # x and y in px, the estimate, and x itself


def panels(finding: Finding, looks: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield condition and SVG of each panel; all panels share their axes. looks: style number of each method."""
    series = finding.series
    across = scale_of(finding.x, (x for each in series for x in each.x))
    up = scale_of(finding.y, (end for each in series for y in each.y for end in (y.value, y.low, y.high)))
    for condition in conditions([(each.method, each.condition) for each in series]):
        drawn = [each for each in series if each.condition == condition]
        yield condition, _panel(finding, drawn, condition, (across, up), looks)


def looks_of(findings: Sequence[Finding], subject: str = "", plain: str = "") -> dict[str, int]:
    """Assign each method a style number, the same in all figures of a result.

    subject: the method to emphasise. plain: the method to draw least prominently.
    """
    methods = list(dict.fromkeys(each.method for finding in findings for each in finding.series))
    first = [name for name in (subject, plain) if name in methods]
    return {name: index % LOOKS for index, name in enumerate([*first, *(m for m in methods if m not in first)])}


def swatch(look: int) -> str:
    """Return a legend sample of a method's style."""
    mark = _mark(20, 8, look)
    return (
        f'<svg class="swatch m{look}" viewBox="0 0 40 16" aria-hidden="true">'
        f'<line class="curve" x1="1" y1="8" x2="39" y2="8"/>{mark}</svg>'
    )


def _panel(
    finding: Finding,
    series: Sequence[Series],
    condition: str,
    scales: tuple[AxisScale, AxisScale],
    looks: Mapping[str, int],
) -> str:
    across, up = scales
    places = sorted({x for each in finding.series for x in each.x if across.shows(x)})
    title = f"{finding.title}{f', {condition}' if condition else ''}: {label_of(finding.y)} against {finding.x.name}"
    curves = "".join(_curve(each, across, up, looks[each.method]) for each in series)
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}">'
        f"{_frame(across, up, places)}{curves}"
        f"{_label(LEFT + INNER_WIDTH / 2, HEIGHT - 8, label_of(finding.x))}"
        f"{_label(4, 16, label_of(finding.y), 'start')}</svg>"
    )


def _frame(across: AxisScale, up: AxisScale, places: Sequence[float]) -> str:
    """Draw grid, axes and ticks. places: x of all points, used as ticks if few and well separated."""
    parts = []
    apart = all(_x(across, right) - _x(across, left) >= LEAST_APART for left, right in pairwise(places))
    ticks = places if 1 < len(places) <= MOST_PLACES and apart else across.ticks()
    for tick in up.ticks():
        y = _y(up, tick)
        parts += [
            f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>',
            _label(LEFT - 7, y + 5, shown_tick(tick), "end"),
        ]
    parts += [_label(_x(across, tick), BASE + 20, shown_tick(tick)) for tick in ticks]
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{BASE}" x2="{WIDTH - RIGHT}" y2="{BASE}"/>')
    return "".join(parts)


def _curve(series: Series, across: AxisScale, up: AxisScale, look: int) -> str:
    points: Points = [
        (_x(across, x), _y(up, y.value), y, x)
        for x, y in zip(series.x, series.y, strict=True)
        if across.shows(x) and up.shows(y.value)
    ]
    if not points:
        return ""
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    drawn = f'<polyline class="curve" points="{line}"/>' if len(points) > 1 else ""
    detail = _band(points, up) if len(points) > MOST_MARKS else _marks(series, points, up, look)
    return f'<g class="m{look}">{detail}{drawn}</g>'


def _marks(series: Series, points: Points, up: AxisScale, look: int) -> str:
    parts = []
    for x, y, estimate, place in points:
        low, high = _ends(estimate, up)
        bar = ""
        if abs(low - high) > 1:
            bar = (
                f'<path class="interval" d="M{x:.1f} {low:.1f}V{high:.1f}M{x - CAP:.1f} {low:.1f}h{2 * CAP:g}'
                f'M{x - CAP:.1f} {high:.1f}h{2 * CAP:g}"/>'
            )
        told = f"{series.method}, {shown_number(place)}: {shown_estimate(estimate)}"
        parts.append(f"<g><title>{text(told)}</title>{bar}{_mark(x, y, look)}</g>")
    return "".join(parts)


def _band(points: Points, up: AxisScale) -> str:
    """Draw the intervals of many points as one area."""
    ends = [(x, *_ends(estimate, up)) for x, _, estimate, _ in points]
    way = [f"{x:.1f},{low:.1f}" for x, low, _ in ends] + [f"{x:.1f},{high:.1f}" for x, _, high in reversed(ends)]
    return f'<polygon class="band" points="{" ".join(way)}"/>'


def _ends(estimate: Estimate, up: AxisScale) -> tuple[float, float]:
    """Return both ends of an interval in px, clipped to the axis."""
    ends = (estimate.low if up.shows(estimate.low) else up.low, estimate.high if up.shows(estimate.high) else up.high)
    return _y(up, ends[0]), _y(up, ends[1])


def _mark(x: float, y: float, look: int) -> str:
    """Draw a circle, square, triangle or diamond, filled or hollow."""
    kind = "mark" if look < LOOKS // 2 else "mark hollow"
    shape = look % (LOOKS // 2)
    if shape == 0:
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{MARK:g}"/>'
    corners = CORNERS[shape - 1]
    way = " ".join(f"{x + MARK * across:.1f},{y + MARK * down:.1f}" for across, down in corners)
    return f'<polygon class="{kind}" points="{way}"/>'


def drawn_words(finding: Finding) -> str:
    """Return the number of draws of a figure, such as `36; bm3d 8`."""
    fewer = {each.method: each.draws for each in finding.series if each.draws is not None}
    return "; ".join([f"{finding.draws}" if finding.draws else NO_DRAW, *(f"{m} {n}" for m, n in fewer.items())])


def shown_estimate(estimate: Estimate) -> str:
    """Format a value with its interval, omitted if it rounds to the value."""
    value, low, high = map(shown_number, (estimate.value, estimate.low, estimate.high))
    return value if value == low == high else f"{value} ({low} to {high})"


def _x(scale: AxisScale, value: float) -> float:
    return LEFT + INNER_WIDTH * scale.share(value)


def _y(scale: AxisScale, value: float) -> float:
    return BASE - INNER_HEIGHT * min(max(scale.share(value), 0.0), 1.0)


def _label(x: float, y: float, content: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(content)}</text>'
