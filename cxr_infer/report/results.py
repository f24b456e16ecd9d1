"""What became of each file of a run, and the totals."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from cxr_infer.report.columns import AVERAGED, Figures

DONE, FAILED, SKIPPED = "done", "failed", "skipped"
IGNORED = "ignored"  # no X-ray
PENDING = "pending"  # not begun when the run was stopped

FINISHED = "finished in an earlier run; --overwrite does it again"  # what follows it is about its figures

IN_THE_WAY = "the output exists but cxr-infer did not write it, or it was changed since; --overwrite replaces it"
CUT_SHORT = "done again, because the result of an earlier run was truncated or blanked"


@dataclass(frozen=True)
class FileResult(Figures):
    """What became of one file, with its figures, which are None where they do not apply: see `--json`.

    Attributes:
        name: Path below IN, with `/`.
        status: `done`, `failed`, `skipped`, `ignored` (no X-ray) or `pending` (not begun when the run was stopped).
        message: Why it is not done, or what to know about it.
        output: Path or URL of the result.
        width: Of the image, px.
        height: Of the image, px.
        bits: Of a stored pixel.
        traceback: Where an exception that nobody foresaw was raised, for a report of the fault.
    """

    name: str
    status: str
    message: str = ""
    output: str | None = None
    width: int | None = None
    height: int | None = None
    bits: int | None = None
    traceback: str | None = None

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
        """The record of `--json`, the figures last."""
        return {one.name: getattr(self, one.name) for one in sorted(fields(self), key=lambda one: bool(one.kw_only))}


@dataclass
class Summary:
    """Totals and means over the results of a run, added up as they come; memory does not grow with the files.

    Results of an earlier run that were measured again are in the means, but not in the totals of this run's work.

    Attributes:
        done: Number of files that were denoised.
        failed: Number that could not be.
        skipped: Number left as they are: finished before, results themselves, or with another file in the way.
        ignored: Number that are no X-rays.
        pending: Number not begun when the run was stopped.
        megapixels: Of all images denoised.
        seconds: From the first file to the last; files are read and written side by side.
        megapixels_per_second: `megapixels` over `seconds`, no mean of the files' rates; None where none was denoised.
        means: Of mottle, PSNR, SSIM and MSE, before and after, each over the files that have it; of mottle, over those
            that are not `unsure`.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0
    ignored: int = 0
    pending: int = 0
    in_the_way: int = 0  # of the skipped ones
    results_themselves: int = 0  # of the skipped ones
    left: Counter[str] = field(default_factory=Counter)  # files by `mottle_left`, where that says something
    megapixels: float = 0.0
    seconds: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=dict)  # figure -> [sum, count]
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: FileResult) -> None:
        """Take in what became of one file."""
        setattr(self, result.status, getattr(self, result.status) + 1)
        self.in_the_way += result.in_the_way
        self.results_themselves += result.is_result
        if result.mottle_left is not None:
            self.left[result.mottle_left] += 1
        self.seconds = time.perf_counter() - self.started
        if result.status == DONE and result.width is not None and result.height is not None:
            self.megapixels += result.width * result.height / 1e6
        for column in AVERAGED:
            value = column.averaged(result)
            if value is not None:
                total = self.sums.setdefault(column.key, [0.0, 0])
                total[0] += value
                total[1] += 1

    def mean(self, name: str) -> float | None:
        """Mean of a figure, by its name in `FileResult`, over the files that have it; of mottle, where it is no guess.

        None where no file has it, or where a figure has no mean.
        """
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
        """The summary of `--json`."""
        means = {one.key: self.mean(one.key) for one in AVERAGED if one.mean is not None and one.mean.in_json}
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
