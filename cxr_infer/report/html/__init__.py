"""The HTML report of a run: summary, table, and pictures before and after denoising of selected images.

The page is self-contained, and discloses nothing about a file but its path below IN and its measurements. Pictures are
stored on disk during the run, so that memory stays constant and no file is read twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from types import TracebackType

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import write_bytes
from cxr_infer.report.html.encoding import Pictures, encode
from cxr_infer.report.html.frame import asset
from cxr_infer.report.html.markup import card, row, without_folders
from cxr_infer.report.html.page import MOST_ROWS, RunFacts, fields
from cxr_infer.report.html.selection import Selection, badness
from cxr_infer.report.html.statistics import statistics_of
from cxr_infer.report.json_file import JsonReport
from cxr_infer.report.results import IGNORED, FileResult, Summary
from cxr_infer.report.views import BeforeAfter, Pairs
from cxr_infer.scratch import DiskStore
from cxr_infer.settings import REPORT_LIMIT

__all__ = ["HtmlReport", "RunFacts"]

ROOM = 18_300_000  # bytes of JPEG in total: 24.4 MB as base64, which leaves room for the table
DETAIL_SHARE = 0.35  # of an image's bytes, for a quarter of the pixels, where grain must be visible
FIRST, ROWS, IMAGES = "<!-- first -->\n", "<!-- rows -->\n", "<!-- images -->\n"  # places in the template
MOST_FIRST = 4  # images above the table


@dataclass(frozen=True)
class _Stored:
    """Stored pictures. jpegs: name -> number in the store. gains: see `Pictures`. size: (width, height), px."""

    jpegs: dict[str, int]
    gains: dict[str, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class _Picked:
    """An image selected so far."""

    result: FileResult
    whole: _Stored
    detail: _Stored | None


class HtmlReport:
    """Collects pictures during a run, and writes the page. For use in a `with` statement.

    limit: most images to show. planned: number of images in the run; fewer images get better quality.
    Raises UsageError for a negative limit.
    """

    def __init__(self, limit: int = REPORT_LIMIT, planned: int = REPORT_LIMIT) -> None:
        if limit < 0:
            raise UsageError(f"report-limit {limit} is negative; use 0 for a report without pictures")
        self._room = ROOM // max(1, min(limit, planned, REPORT_LIMIT))
        self._selection = Selection[_Picked](limit)
        self._store = DiskStore("the report", ImageError)

    def __enter__(self) -> HtmlReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def show(self, result: FileResult, pairs: Pairs) -> None:
        """Store the pictures of an image if it is selected. Raises ImageError on failure."""
        dropped = self._selection.offer(badness(result), lambda: self._picked(result, pairs))
        for stored in (dropped.whole, dropped.detail) if dropped else ():
            if stored is not None:
                for number in stored.jpegs.values():
                    self._store.drop(number)

    def _picked(self, result: FileResult, pairs: Pairs) -> _Picked:
        if pairs.detail is None:
            return _Picked(result, self._stored(pairs.whole, self._room), None)
        for_detail = int(self._room * DETAIL_SHARE)
        whole, detail = self._stored(pairs.whole, self._room - for_detail), self._stored(pairs.detail, for_detail)
        return _Picked(result, whole, detail)

    def _stored(self, pair: BeforeAfter, room: int) -> _Stored:
        made = encode(pair, room)
        return _Stored({name: self._store.add(jpeg) for name, jpeg in made.jpegs.items()}, made.gains, made.size)

    def write(self, path: Path, run: RunFacts, summary: Summary, records: JsonReport) -> None:
        """Write the page atomically. Raises ImageError on failure."""
        write_bytes(path, (part.encode() for part in self._parts(run, summary, records)))

    def _parts(self, run: RunFacts, summary: Summary, records: JsonReport) -> Iterator[str]:
        opening, rest = asset("template.html").split(FIRST)
        summarised, rest = rest.split(ROWS)
        between, closing = rest.split(IMAGES)
        filled = fields(run, summary, statistics_of(records.results()))
        groups = self._groups()
        shown = (picked for _, group in groups for picked in group)
        anchors = {picked.result.name: number for number, picked in enumerate(shown, start=1)}
        sections = (self._section(number, *group, anchors, run) for number, group in enumerate(groups))
        yield Template(opening).substitute(filled)
        yield from next(sections, ())
        yield Template(summarised).substitute(filled)
        for last in (False, True):  # ignored files come last
            results = (result for result in records.results() if (result.status == IGNORED) is last)
            yield from _rows(results, anchors, run)
        yield Template(between).substitute(filled)
        yield from (part for section in sections for part in section)
        yield Template(closing).substitute(filled)

    def _groups(self) -> list[tuple[str, list[_Picked]]]:
        """Return the non-empty groups of images with their headings. The first group is shown above the table."""
        selection = self._selection
        if selection.complete:
            ranked = sorted(selection.all(), key=lambda picked: badness(picked.result), reverse=True)
            first = ranked[:MOST_FIRST]
            others = [picked for picked in selection.all() if picked not in first]
            title = f"The {len(first)} worst of {len(ranked)} images" if others else "Images, the worst first"
            groups = [(title, first), (f"The other {len(others)} images", others)]
        else:
            worst, sample = selection.worst(), selection.sample()
            first, more = worst[:MOST_FIRST], worst[MOST_FIRST:]
            groups = [
                (f"The {len(first)} worst of {selection.offered} images", first),
                (f"The next {len(more)} worst", more),
                (f"{len(sample)} of the other {selection.offered - len(worst)}, drawn at random", sample),
            ]
        return [(title, group) for title, group in groups if group]

    def _section(
        self, number: int, title: str, group: list[_Picked], anchors: dict[str, int], run: RunFacts
    ) -> Iterator[str]:
        first = number == 0
        yield f'<section class="pictures{" first" if first else ""}" aria-labelledby="group-{number}">\n'
        yield f'<h2 id="group-{number}">{title}</h2>\n{asset("keys.html") if first else ""}<div class="cards">\n'
        for picked in group:
            yield from self._cards(picked, anchors[picked.result.name], run)
        yield "</div>\n</section>\n"

    def _cards(self, picked: _Picked, number: int, run: RunFacts) -> Iterator[str]:
        template, result = asset("card.html"), picked.result
        message = without_folders(result.message, run.folders)
        yield card(f"{number}", result, self._pictures(picked.whole), message, template)
        if picked.detail is not None:
            yield card(f"{number}-detail", result, self._pictures(picked.detail), "", template, detail=True)

    def _pictures(self, stored: _Stored) -> Pictures:
        jpegs = {name: self._store.read(number) for name, number in stored.jpegs.items()}
        return Pictures(jpegs, stored.gains, stored.size)


def _rows(results: Iterator[FileResult], anchors: dict[str, int], run: RunFacts) -> Iterator[str]:
    listed: Counter[str] = Counter()
    for result in results:
        listed[result.status] += 1
        if listed[result.status] <= MOST_ROWS or result.name in anchors:  # keep the rows of all pictures
            message = without_folders(result.message, run.folders).removeprefix(f"{result.name}: ")
            yield row(result, message, anchors.get(result.name), run.with_reference)
