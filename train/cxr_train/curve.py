"""Draw a training as a picture: the loss above, validation results below, over the steps."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

LogRow = dict[str, float]  # a row of log.csv: values by column
Points = list[tuple[float, float]]

WIDTH, PANEL = 900, 320  # px
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 34, 40  # px around the axes of a panel
SIZE = 14  # px, of the text
PAPER, INK, GRID = "#ffffff", "#333333", "#dddddd"
COLOURS = ("#1b6ca8", "#c0392b", "#1e8449", "#8e5aa5", "#b9770e", "#5d6d7e")
TICKS = 5  # maximum number of grid lines per axis
LABEL_SPACING = 16  # px between the names of curves


def draw_curve(rows: Sequence[LogRow]) -> bytes:
    """Return a PNG with two panels: the loss on a logarithmic axis, and the PSNR in dB of each float32 validation.

    rows: of log.csv, in the order of their steps. Non-finite values and panels without points are left out.
    """
    psnr = [name for name in _names(rows) if name.startswith("psnr") and not name.endswith(("_int8", "_clean"))]
    losses = [(step, math.log10(loss)) for step, loss in _points(rows, "loss") if loss > 0]
    panels = {
        "loss (running mean)": ({"loss": losses}, True),
        "validation, PSNR in dB": ({name: _points(rows, name) for name in psnr}, False),
    }
    picture = Image.new("RGB", (WIDTH, len(panels) * PANEL), PAPER)
    pen = ImageDraw.Draw(picture)
    last = max((row["step"] for row in rows), default=1)
    for index, (title, (curves, logarithmic)) in enumerate(panels.items()):
        _panel(pen, index * PANEL, title, {n: p for n, p in curves.items() if p}, last, logarithmic=logarithmic)
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def _names(rows: Iterable[LogRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _points(rows: Iterable[LogRow], name: str) -> Points:
    return [(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]


def _panel(
    pen: ImageDraw.ImageDraw, top: int, title: str, curves: dict[str, Points], last: float, *, logarithmic: bool
) -> None:
    """Draw one panel, `top` px from the top. last: the step at its right edge."""
    font = ImageFont.load_default(SIZE)
    pen.text((LEFT, top + 8), title, INK, font)
    values = [value for points in curves.values() for _, value in points]
    if not values:
        pen.text((LEFT, top + PANEL // 2), "no data yet", INK, font)
        return
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5

    def place(step: float, value: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1)
        down = top + TOP + (PANEL - TOP - BOTTOM) * (high - value) / (high - low)
        return across, down

    for value in log_ticks(low, high) if logarithmic else ticks(low, high):
        _, y = place(0, value)
        pen.line([(LEFT, y), (WIDTH - RIGHT, y)], GRID)
        pen.text((LEFT - 8, y), f"{10**value if logarithmic else value:.4g}", INK, font, anchor="rm")
    for step in ticks(0, last):
        x, _ = place(step, low)
        pen.text((x, top + PANEL - BOTTOM + 6), f"{step:g}", INK, font, anchor="mt")
    lowest = math.inf
    ends = sorted(curves.items(), key=lambda curve: -place(*curve[1][-1])[1])  # the lowest name first
    for index, (name, points) in enumerate(ends):
        colour = COLOURS[index % len(COLOURS)]
        shown = [place(*point) for point in points]
        pen.line(shown, colour, 2)
        for x, y in shown if len(shown) < 50 else ():
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], colour)
        lowest = min(shown[-1][1], lowest - LABEL_SPACING)
        pen.text((WIDTH - RIGHT + 10, lowest), name, colour, font, anchor="lm")


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from low to high: multiples of 1, 2 or 5 times a power of ten, at most TICKS + 1."""
    rough = (high - low) / TICKS
    if rough <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return logarithms from low to high of 1, 2 and 5 times powers of ten; of powers only if there are many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if len(powers) <= TICKS else (1,)
    found = [math.log10(factor) + power for power in powers for factor in factors]
    return [value for value in found if low <= value <= high] or ticks(low, high)
