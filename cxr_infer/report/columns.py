"""The measurements of a file: heading, unit, format and mean of each, for table, JSON, CSV and HTML report.

To add one, add a field to `Figures`, a row to `COLUMNS`, and its value in `cxr_infer.batch.pipeline`.
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
    """The measurements of a file; None if they do not apply. `COLUMNS` defines each of them."""

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
        """Standard deviation before minus after, in gray levels; None if they are unsure."""
        if self.unsure or self.mottle_before is None or self.mottle_after is None:
            return None
        return self.mottle_before - self.mottle_after

    @property
    def correlation(self) -> float | None:
        """Correlation of the noise of neighbouring pixels, in the direction where it is larger."""
        if self.correlation_across is None or self.correlation_down is None:
            return None
        return max(self.correlation_across, self.correlation_down)

    @property
    def unsure(self) -> bool:
        """Whether the noise estimates are unsure."""
        return self.mottle_left == UNSURE


def fixed(digits: int) -> Wording:
    """Return a formatter with this number of decimal places."""

    def words(value: float | None) -> str:
        return NO_FIGURE if value is None else f"{value:z.{digits}f}"

    return words


ONE_DIGIT = fixed(1)


def small_figure(value: float | None) -> str:
    """Format a number with two significant digits, such as 3.2e-4."""
    if not value:
        return fixed(0)(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


@dataclass(frozen=True)
class Mean:
    """How a measurement is averaged over a run.

    some: note of the table if the mean is not over all files; `{}` stands for their number, as in `3 files`. sure:
    leave out files with unsure noise estimates. in_json: whether the JSON summary has the mean. needs_reference:
    whether it is only measured with references.
    """

    some: str
    sure: bool = False
    in_json: bool = True
    needs_reference: bool = False


NOISE = Mean("mean mottle: over the {} with a sure estimate", sure=True)
QUALITY = Mean("mean PSNR, SSIM and MSE: over the {} with a reference", needs_reference=True)
SPEED = Mean("mean ms and MP/s: over the {} denoised in this run", in_json=False)


@dataclass(frozen=True)
class Column:
    """A measurement and how it is shown.

    key: field or property of `Figures`. meaning: description for the reference (fields only). heading, unit: in tables.
    short: heading in the terminal, if shorter. words: format. mean: how it is averaged; None for no mean. rank: in the
    terminal's table, columns with the highest rank are dropped first, rank 0 never; None: not shown there. then: key of
    the value after denoising, shown after it in the terminal. page, card, csv: whether the report's table, its viewers
    and `--csv` have it. optional: omitted from a viewer if None. guess: whether to show it if unsure. cell,
    terminal_cell: text to show instead if the number would mislead. note: line below the terminal's table.
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
        """Return the heading with its unit."""
        return between.join(filter(None, (self.heading, self.unit)))

    @property
    def terminal_title(self) -> str:
        return self.short or self.titled(" ")

    def value(self, figures: Figures) -> float | None:
        """Return the value, None if it is not to be shown."""
        value: float | None = getattr(figures, self.key)
        return value if self.guess or not figures.unsure else None

    def averaged(self, figures: Figures) -> float | None:
        """Return the value, None if it is not part of the mean."""
        return None if self.mean is not None and self.mean.sure and figures.unsure else self.value(figures)

    def shown(self, figures: Figures) -> str:
        """Return the formatted value."""
        return self.cell(figures) or self.words(self.value(figures))

    def on_terminal(self, figures: Figures) -> str:
        """Return the cell of the terminal's table."""
        return self.terminal_cell(figures) or (self._pair(figures) if self.then else self.shown(figures))

    def _pair(self, figures: Figures) -> str:
        return (
            self.shown(figures)
            if figures.unsure or self.value(figures) is None
            else self.pair(figures.__getattribute__)
        )

    def pair(self, value_of: Callable[[str], float | None]) -> str:
        """Format the value, and that after denoising if the column shows both."""
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


# in display order
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
        "Standard deviation of the noise after denoising, in gray levels of an 8-bit image.",
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
        "Kind of noise: `none`, `unknown`, `white`, `sharpened`, `enlarged`, or `correlated over N px`, with "
        "`across` or `down` if one direction dominates.",
        "noise",
        card=True,
        cell=lambda figures: figures.mottle_kind or NO_FIGURE,
    ),
    Column(
        "mottle_left",
        "Why before and after are hard to compare: `faint` (too faint for the model), `left` (correlated from pixel to "
        "pixel, and mostly left in the image) or `unsure` (noise could not be separated from structure).",
        csv=True,
    ),
    Column(
        "photons_at_white",
        "Photons per pixel at white, if the noise is quantum noise.",
        "photons at white",
        words=lambda value: photons(value) or NO_FIGURE,
        short="photons",
        rank=3,
        page=True,
        card=True,
        csv=True,
        optional=True,
        terminal_cell=_why_no_photons,
        note="photons: per pixel at white, two digits; corr: correlation of the noise of neighbouring pixels",
    ),
    Column("correlation", heading="correlation", words=fixed(2), page=True),
    Column(
        "correlation_across",
        "Correlation of the noise of neighbouring pixels in a row, -1 to 1, if it is sure.",
    ),
    Column(
        "correlation_down",
        "Correlation of the noise of neighbouring pixels in a column, -1 to 1, if it is sure.",
    ),
    Column("psnr_before", "PSNR of the original against the reference, dB.", mean=QUALITY, csv=True),
    Column(
        "psnr",
        "PSNR of the result against the reference, dB.",
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
    Column("ssim_before", "Structural similarity of the original to the reference, at most 1.", mean=QUALITY, csv=True),
    Column(
        "ssim",
        "Structural similarity of the result to the reference, at most 1.",
        "SSIM",
        words=fixed(4),
        mean=QUALITY,
        rank=1,
        page=True,
        card=True,
        csv=True,
        optional=True,
    ),
    Column(
        "mse_before",
        "Mean squared error of the original against the reference, pixels in [0, 1].",
        mean=QUALITY,
        csv=True,
    ),
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
    Column("outside_window", "Fraction of the pixels that the file's window shows as black or white."),
    Column(
        "milliseconds",
        "Time of reading, denoising and writing, without waiting.",
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
    Column(
        "megapixels_per_second",
        "Image size divided by `milliseconds`, in megapixels per second.",
        "MP/s",
        words=fixed(2),
        mean=SPEED,
        rank=6,
    ),
)
AVERAGED = tuple(column for column in COLUMNS if column.mean is not None)
BY_KEY = {column.key: column for column in COLUMNS}


def on_page(with_reference: bool) -> tuple[Column, ...]:
    """Return the columns of the HTML report's table."""
    return tuple(c for c in COLUMNS if c.page and (with_reference or c.mean is None or not c.mean.needs_reference))
