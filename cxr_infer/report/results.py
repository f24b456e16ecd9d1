"""What became of each file of a run, and the totals."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from cxr_infer.report.noise_words import UNSURE

DONE, FAILED, SKIPPED = "done", "failed", "skipped"
IGNORED = "ignored"  # no X-ray
PENDING = "pending"  # not begun when the run was stopped

FINISHED = "finished in an earlier run; --overwrite does it again"  # what follows it is about its figures

IN_THE_WAY = "a file is there that cxr-infer did not write, or that was changed since; --overwrite replaces it"
CUT_SHORT = "done again, as the result of an earlier run had been cut short"

# of which there are means
MOTTLE_FIGURES, QUALITY_FIGURES = ("mottle_before", "mottle_after"), ("mse", "psnr", "ssim")
SPEED_FIGURES = ("milliseconds", "megapixels_per_second")


@dataclass(frozen=True)
class FileResult:
    """What became of one file; figures are None where they do not apply.

    mottle_before, mottle_after: standard deviation in 8-bit gray levels. mottle_error: relative standard error of the
    first, 0 to 1. mottle_kind: what noise it was, `Mottle.kind`. mottle_left: `faint`, `left` or `unsure` where before
    and after say little, see `noise_words`. correlation_across, correlation_down: of a pixel's noise with its
    neighbour's, -1 to 1, where that is sure. photons_at_white: behind pixel value 1, where the noise is that of counted
    photons. psnr: dB.
    """

    name: str
    status: str  # done, failed, skipped, ignored or pending
    message: str = ""  # why it is not done, or what to know about it
    output: str | None = None
    width: int | None = None
    height: int | None = None
    bits: int | None = None
    mottle_before: float | None = None
    mottle_after: float | None = None
    mottle_error: float | None = None
    mottle_kind: str | None = None
    mottle_left: str | None = None
    correlation_across: float | None = None
    correlation_down: float | None = None
    photons_at_white: float | None = None
    mse: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    inverted: bool | None = None  # whether low stored values were taken as white
    outside_window: float | None = None  # share of the pixels that the file's own window shows black or white
    milliseconds: float | None = None  # reading, denoising and writing, waiting left out
    megapixels_per_second: float | None = None

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

    @property
    def in_the_way(self) -> bool:
        """Whether it was skipped for a file that is not its result."""
        return self.status == SKIPPED and self.message == IN_THE_WAY

    @property
    def finished(self) -> bool:
        """Whether it was skipped for having its result since an earlier run."""
        return self.status == SKIPPED and self.message.startswith(FINISHED)

    @property
    def is_result(self) -> bool:
        """Whether it was skipped for being a result already."""
        return self.status == SKIPPED and not (self.finished or self.in_the_way)

    @property
    def notes(self) -> list[str]:
        """What to know about the result that it has, be it from an earlier run."""
        said = self.message.removeprefix(FINISHED) if self.finished else self.message if self.status == DONE else ""
        return [note for note in said.split("; ") if note]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Summary:
    """Totals and means over the results of a run, added up as they come; memory does not grow with the files.

    Results of an earlier run that were measured again are in the means, but not in the totals of this run's work.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0
    ignored: int = 0
    pending: int = 0
    in_the_way: int = 0  # of the skipped ones
    results_themselves: int = 0  # of the skipped ones
    megapixels: float = 0.0  # denoised
    seconds: float = 0.0  # from the summary's making to the last result; files are read and written side by side
    sums: dict[str, list[float]] = field(default_factory=dict)  # figure -> [sum, count]
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: FileResult) -> None:
        setattr(self, result.status, getattr(self, result.status) + 1)
        self.in_the_way += result.in_the_way
        self.results_themselves += result.is_result
        self.seconds = time.perf_counter() - self.started
        if result.status == DONE and result.width is not None and result.height is not None:
            self.megapixels += result.width * result.height / 1e6
        for name in MOTTLE_FIGURES + QUALITY_FIGURES + SPEED_FIGURES:
            value = getattr(result, name)
            if value is not None and not (result.unsure and name in MOTTLE_FIGURES):
                total = self.sums.setdefault(name, [0.0, 0])
                total[0] += value
                total[1] += 1

    def mean(self, name: str) -> float | None:
        """Mean of a figure over the files that have it, of mottle over those where it is no guess."""
        total = self.sums.get(name)
        return total[0] / total[1] if total else None

    def count(self, name: str) -> int:
        """How many files such a mean is of."""
        total = self.sums.get(name)
        return int(total[1]) if total else 0

    @property
    def megapixels_per_second(self) -> float | None:
        """Of the whole run, whose images are read, denoised and written side by side; no mean of theirs."""
        return self.megapixels / self.seconds if self.done and self.seconds else None

    def to_dict(self) -> dict[str, Any]:
        means = {name: self.mean(name) for name in MOTTLE_FIGURES + QUALITY_FIGURES}
        return {
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "ignored": self.ignored,
            "pending": self.pending,
            "megapixels": self.megapixels,
            "seconds": self.seconds,
            "megapixels_per_second": self.megapixels_per_second,
            "means": means,
        }
