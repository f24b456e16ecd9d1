"""The figures of one file, each told once: table, JSON, CSV and page read its heading, unit, digits and mean from here.

A new figure is a field of `Figures`, a row of `COLUMNS`, and its value in `cxr_infer.batch.pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cxr_infer.imaging.mottle import CORRELATED
from cxr_infer.report.noise_words import UNSURE, photons

NO_FIGURE = "–"  # noqa: RUF001  an en dash

Wording = Callable[[float | None], str]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured of one file; None where it does not apply. `COLUMNS` says what each figure means."""

    mottle_before: float | None = None
    mottle_after: float | None = None
    mottle_error: float | None = None
    mottle_kind: str | None = None
    mottle_left: str | None = None
    photons_at_white: float | None = None
    correlation_across: float | None = None
    correlation_down: float | None = None
    psnr_before: float | None = None
    psnr: float | None = None
    ssim_before: float | None = None
    ssim: float | None = None
    mse_before: float | None = None
    mse: float | None = None
    inverted: bool | None = None
    outside_window: float | None = None
    milliseconds: float | None = None
    megapixels_per_second: float | None = None

    @property
    def mottle_removed(self) -> float | None:
        """Before minus after, both standard deviations; None where they are a guess."""
        if self.unsure or self.mottle_before is None or self.mottle_after is None:
            return None
        return self.mottle_before - self.mottle_after

    @property
    def correlation(self) -> float | None:
        """Of neighbouring pixels' noise, in the direction where it is larger."""
        if self.correlation_across is None or self.correlation_down is None:
            return None
        return max(self.correlation_across, self.correlation_down)

    @property
    def unsure(self) -> bool:
        """Whether the figures of its noise are a guess."""
        return self.mottle_left == UNSURE


def fixed(digits: int) -> Wording:
    """Format a figure with so many digits after the point."""

    def words(value: float | None) -> str:
        return NO_FIGURE if value is None else f"{value:z.{digits}f}"

    return words


ONE_DIGIT = fixed(1)


def small_figure(value: float | None) -> str:
    """Format a figure with two digits, whatever its power of ten: 3.2e-4."""
    if not value:
        return fixed(0)(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


@dataclass(frozen=True)
class Mean:
    """How a run sums a figure up.

    some: a note for a table whose mean is of `{}` files, not all. sure: leave out files whose noise figures are a
    guess. in_json: whether the mean is a part of the JSON summary. needs_reference: whether only a run with references
    has the figure.
    """

    some: str
    sure: bool = False
    in_json: bool = True
    needs_reference: bool = False


NOISE = Mean("mean mottle: of the {} files where it is sure", sure=True)
QUALITY = Mean("mean PSNR, SSIM and MSE: of the {} files that were measured against a reference", needs_reference=True)
SPEED = Mean("mean ms and MP/s: of the {} files denoised in this run", in_json=False)


@dataclass(frozen=True)
class Column:
    """One figure, and where it is shown.

    key: field or property of `Figures`. meaning: for the reference, of fields only. heading, unit: of tables; short: in
    the terminal's, where the heading alone is too long. words: format of a value. mean: how it is averaged, if it is.
    rank: in the terminal's table, where columns with the highest rank are left out first and those with 0 never; None
    for not there. then: key of the figure after denoising, to be shown behind it on the terminal. page, card, csv:
    whether the table of the page, its viewers and `--csv` have it. optional: left out of a viewer where it is None.
    guess: whether it is shown where it is a guess. cell, terminal_cell: the words where the figure alone would mislead.
    note: a line below the terminal's table.
    """

    key: str
    meaning: str = ""
    heading: str = ""
    unit: str = ""
    words: Wording = ONE_DIGIT
    mean: Mean | None = None
    short: str = ""
    rank: int | None = None
    then: str = ""
    page: bool = False
    card: bool = False
    csv: bool = False
    optional: bool = False
    guess: bool = True
    cell: Callable[[Figures], str | None] = lambda figures: None
    terminal_cell: Callable[[Figures], str | None] = lambda figures: None
    note: str = ""

    def titled(self, between: str = ", ") -> str:
        """The heading with its unit."""
        return between.join(filter(None, (self.heading, self.unit)))

    @property
    def terminal_title(self) -> str:
        return self.short or self.titled(" ")

    def value(self, figures: Figures) -> float | None:
        """The figure, where it is to be shown."""
        value: float | None = getattr(figures, self.key)
        return value if self.guess or not figures.unsure else None

    def averaged(self, figures: Figures) -> float | None:
        """The figure, where it belongs into the mean."""
        return None if self.mean is not None and self.mean.sure and figures.unsure else self.value(figures)

    def shown(self, figures: Figures) -> str:
        """The figure in words."""
        return self.cell(figures) or self.words(self.value(figures))

    def on_terminal(self, figures: Figures) -> str:
        """The cell of the terminal's table."""
        return self.terminal_cell(figures) or (self._pair(figures) if self.then else self.shown(figures))

    def _pair(self, figures: Figures) -> str:
        return (
            self.shown(figures)
            if figures.unsure or self.value(figures) is None
            else self.pair(figures.__getattribute__)
        )

    def pair(self, value_of: Callable[[str], float | None]) -> str:
        """Words for the figure, and for that after denoising where the table has both in one column."""
        return " → ".join(self.words(value_of(key)) for key in (self.key, self.then) if key)


def _about(figures: Figures) -> str | None:
    return f"about {ONE_DIGIT(figures.mottle_before)}" if figures.unsure else None


def _after_stays(figures: Figures) -> str | None:
    left = figures.mottle_left is not None and not figures.unsure
    return f"{ONE_DIGIT(figures.mottle_after)} stays" if left else None


def _stays(figures: Figures) -> str | None:
    left = figures.mottle_left is not None and not figures.unsure
    return f"{ONE_DIGIT(figures.mottle_before)} stays" if left else None


def _why_no_photons(figures: Figures) -> str | None:
    if figures.unsure:
        return "unsure"
    correlation = figures.correlation
    return f"corr {correlation:.2f}" if correlation is not None and correlation >= CORRELATED else None


# in the order in which they are shown
COLUMNS = (
    Column(
        "mottle_before",
        "Standard deviation of the noise, in gray levels of an 8-bit image.",
        "mottle before",
        mean=NOISE,
        short="mottle",
        rank=0,
        then="mottle_after",
        page=True,
        card=True,
        csv=True,
        cell=_about,
        terminal_cell=_stays,
        note="mottle: estimated standard deviation before and after, gray levels of 0..255",
    ),
    Column(
        "mottle_after",
        "The same after denoising.",
        "after",
        mean=NOISE,
        page=True,
        card=True,
        csv=True,
        guess=False,
        cell=_after_stays,
    ),
    Column("mottle_removed", heading="removed", mean=NOISE, page=True, card=True),
    Column("mottle_error", "Relative standard error of `mottle_before`, 0 to 1."),
    Column(
        "mottle_kind",
        "`none`, `unknown`, `white`, `sharpened`, `enlarged`, or `correlated over N px`, with `across` or `down` where "
        "one direction dominates.",
        "noise",
        card=True,
        cell=lambda figures: figures.mottle_kind or NO_FIGURE,
    ),
    Column(
        "mottle_left",
        "Where before and after say little: `faint` (too faint for the model), `left` (correlated from pixel to pixel, "
        "and most of it stays) or `unsure` (noise and structure could not be told apart).",
        csv=True,
    ),
    Column(
        "photons_at_white",
        "Behind pixel value 1, where the noise is that of counted photons.",
        "photons at white",
        words=lambda value: photons(value) or NO_FIGURE,
        short="photons",
        rank=3,
        page=True,
        card=True,
        csv=True,
        optional=True,
        terminal_cell=_why_no_photons,
        note="photons: at white, to two digits; corr: how neighbouring pixels correlate",
    ),
    Column("correlation", heading="correlation", words=fixed(2), page=True),
    Column(
        "correlation_across",
        "Of a pixel's noise with that of its neighbour in the row, -1 to 1, where that is sure.",
    ),
    Column(
        "correlation_down",
        "Of a pixel's noise with that of its neighbour in the column, -1 to 1, where that is sure.",
    ),
    Column("psnr_before", "Of the image as it was, against the reference, dB.", mean=QUALITY, csv=True),
    Column(
        "psnr",
        "Of the result, against the reference, dB.",
        "PSNR",
        "dB",
        fixed(2),
        QUALITY,
        rank=0,
        page=True,
        card=True,
        csv=True,
        optional=True,
    ),
    Column("ssim_before", "Structural similarity of the image as it was with the reference.", mean=QUALITY, csv=True),
    Column(
        "ssim",
        "Structural similarity of the result with the reference, at most 1.",
        "SSIM",
        words=fixed(4),
        mean=QUALITY,
        rank=1,
        page=True,
        card=True,
        csv=True,
        optional=True,
    ),
    Column("mse_before", "Mean squared error of the image as it was, pixels in [0, 1].", mean=QUALITY, csv=True),
    Column(
        "mse",
        "Mean squared error of the result against the reference, pixels in [0, 1].",
        "MSE",
        words=small_figure,
        mean=QUALITY,
        rank=2,
        csv=True,
    ),
    Column("inverted", "Whether low stored values were taken as white."),
    Column("outside_window", "Fraction of the pixels that the file's own window shows black or white."),
    Column(
        "milliseconds",
        "Reading, denoising and writing, waiting left out.",
        "time",
        "ms",
        fixed(0),
        SPEED,
        short="ms",
        rank=5,
        page=True,
        card=True,
        csv=True,
    ),
    Column("megapixels_per_second", "The same as a rate.", "MP/s", words=fixed(2), mean=SPEED, rank=6),
)
AVERAGED = tuple(column for column in COLUMNS if column.mean is not None)
BY_KEY = {column.key: column for column in COLUMNS}


def on_page(with_reference: bool) -> tuple[Column, ...]:
    """The columns of the page's table."""
    return tuple(c for c in COLUMNS if c.page and (with_reference or c.mean is None or not c.mean.needs_reference))
