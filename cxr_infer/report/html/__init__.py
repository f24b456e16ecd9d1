"""The report of a run as one page: summary, table, and before and after of the images that tell most.

The page needs nothing but itself, and says nothing of a file but its name below IN and what was measured. Pictures are
kept on disk while the run goes on, so that memory stays flat and nothing is read twice.
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
from cxr_infer.report.html.markup import card, row, without_folders
from cxr_infer.report.html.page import MOST_ROWS, RunFacts, asset, fields
from cxr_infer.report.html.selection import Selection, badness
from cxr_infer.report.html.statistics import statistics_of
from cxr_infer.report.json_file import JsonReport
from cxr_infer.report.results import IGNORED, FileResult, Summary
from cxr_infer.report.views import BeforeAfter, Pairs
from cxr_infer.scratch import DiskStore
from cxr_infer.settings import REPORT_LIMIT

__all__ = ["HtmlReport", "RunFacts"]

ROOM = 18_300_000  # bytes of JPEG for REPORT_LIMIT images: 24.4 MB of text, and the table needs some
DETAIL_SHARE = 0.35  # of an image's room, for a quarter of the pixels: there grain is to be seen as it is
FIRST, ROWS, IMAGES = "<!-- first -->\n", "<!-- rows -->\n", "<!-- images -->\n"  # where those go in the template
MOST_FIRST = 4  # images above the table


@dataclass(frozen=True)
class _Stored:
    """Pictures that are kept, by their numbers."""

    jpegs: dict[str, int]
    gains: dict[str, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class _Picked:
    """An image that is to be shown, for now."""

    result: FileResult
    whole: _Stored
    detail: _Stored | None


class HtmlReport:
    """Collects pictures while the run goes on; `write` makes the page. To be used in a `with` statement.

    limit: images to show at most. planned: images that the run may bring; the fewer are shown, the finer they are.
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
        """Keep the pictures of an image where it is to be shown. Raises ImageError where they cannot be kept."""
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
        """The whole page, under its name only once it is complete. Raises ImageError where it cannot be written."""
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
        for last in (False, True):  # what is no X-ray goes to the end
            results = (result for result in records.results() if (result.status == IGNORED) is last)
            yield from _rows(results, anchors, run)
        yield Template(between).substitute(filled)
        yield from (part for section in sections for part in section)
        yield Template(closing).substitute(filled)

    def _groups(self) -> list[tuple[str, list[_Picked]]]:
        """Headings and the images to show under them, without empty ones. The first group goes above the table."""
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
        if listed[result.status] <= MOST_ROWS or result.name in anchors:  # every picture is found from the table
            message = without_folders(result.message, run.folders).removeprefix(f"{result.name}: ")
            yield row(result, message, anchors.get(result.name), run.with_reference)
