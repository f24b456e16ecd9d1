"""The result of each file of a run, and their totals."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from cxr_infer.report.columns import AVERAGED, Figures

DONE, FAILED, SKIPPED = "done", "failed", "skipped"
IGNORED = "ignored"  # not an X-ray
PENDING = "pending"  # not begun when the run was stopped

FINISHED = "finished in an earlier run; --overwrite denoises it again"  # may be followed by notes

IN_THE_WAY = "output exists but was not written by cxr-infer, or was changed since; --overwrite replaces it"
CUT_SHORT = "denoised again, because the result of an earlier run was truncated or blanked"


@dataclass(frozen=True)
class FileResult(Figures):
    """The result of a file, with its measurements; those that do not apply are None. See `--json`.

    Attributes:
        name: Path below IN, with `/`.
        status: `done`, `failed`, `skipped`, `ignored` (not an X-ray) or `pending` (not begun when the run was stopped).
        message: Reason if it is not done, otherwise notes.
        output: Path or URL of the result.
        width: Width of the image, px.
        height: Height of the image, px.
        bits: Stored bits per pixel.
        traceback: Traceback of an unexpected exception, for bug reports.
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
        """Whether it was skipped because a foreign file has the path of its result."""
        return self.status == SKIPPED and self.message == IN_THE_WAY

    @property
    def finished(self) -> bool:
        """Whether it was skipped because an earlier run finished it."""
        return self.status == SKIPPED and self.message.startswith(FINISHED)

    @property
    def is_result(self) -> bool:
        """Whether it was skipped because it is itself a result."""
        return self.status == SKIPPED and not (self.finished or self.in_the_way)

    @property
    def notes(self) -> list[str]:
        """Notes on its result, even if that is from an earlier run."""
        said = self.message.removeprefix(FINISHED) if self.finished else self.message if self.status == DONE else ""
        return [note for note in said.split("; ") if note]

    def to_dict(self) -> dict[str, Any]:
        """Return the record of `--json`, with the measurements last."""
        return {one.name: getattr(self, one.name) for one in sorted(fields(self), key=lambda one: bool(one.kw_only))}


@dataclass
class Summary:
    """Totals and means over the results of a run, in constant memory.

    Results of earlier runs that were measured again count in the means, but not in the totals.

    Attributes:
        done: Number of files denoised.
        failed: Number of files that failed.
        skipped: Number of files skipped: finished before, already results, or not replaced.
        ignored: Number of files that are not X-rays.
        pending: Number of images not begun when the run was stopped.
        megapixels: Total size of the images denoised.
        seconds: Wall-clock time of the run.
        megapixels_per_second: `megapixels` divided by `seconds`; None if no image was denoised.
        means: Means of mottle, PSNR, SSIM and MSE before and after, each over the files that have it; of mottle, over
            the files with a sure estimate.
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
        """Add the result of a file."""
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
        """Return the mean of a measurement over the files that have it; of mottle, if the estimate is sure.

        name: field of `FileResult`. None if no file has it or it is not averaged.
        """
        total = self.sums.get(name)
        return total[0] / total[1] if total else None

    def count(self, name: str) -> int:
        """Return the number of files in a mean."""
        total = self.sums.get(name)
        return int(total[1]) if total else 0

    @property
    def megapixels_per_second(self) -> float | None:
        """Throughput of the whole run, in which steps overlap; not the mean of the images' rates."""
        return self.megapixels / self.seconds if self.done and self.seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Return the summary of `--json`."""
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
