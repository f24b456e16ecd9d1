"""The reports of a run. A report that fails is abandoned with a message, and the run continues."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cxr_infer.errors import CxrError, UsageError
from cxr_infer.faults import fault_line, traceback_of
from cxr_infer.report.csv_file import CsvReport
from cxr_infer.report.json_file import JsonReport, open_report
from cxr_infer.report.results import FileResult, Summary

if TYPE_CHECKING:
    from cxr_infer.report.html import HtmlReport
    from cxr_infer.report.views import Pairs

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportFiles:
    """Paths of the reports; None for those not wanted."""

    json: Path | None = None
    page: Path | None = None
    csv: Path | None = None


class Reports:
    """The reports of `--json`, `--csv` and `--report`, for use in a `with` statement.

    limit, planned: see `HtmlReport`. say: called with the message of a failure. Raises UsageError if an argument is
    invalid or a report cannot be created.
    """

    def __init__(self, files: ReportFiles, limit: int, planned: int, say: Callable[[str], None]) -> None:
        self.failed = False
        self._html_file = files.page
        self._say = say
        self._given_up: set[Path] = set()
        self._page: HtmlReport | None = None
        self._tables: dict[Path, JsonReport] = {}
        with contextlib.ExitStack() as opened:
            if files.page is not None:
                self._tried(files.page, lambda: self._begin_page(opened, limit, planned))
            if files.json is not None:
                self._tables[files.json] = opened.enter_context(open_report(files.json))
            if files.csv is not None:
                self._tables[files.csv] = opened.enter_context(CsvReport())
            self._rows = opened.enter_context(JsonReport())  # for the HTML report, independent of the others
            self._opened = opened.pop_all()

    def _begin_page(self, opened: contextlib.ExitStack, limit: int, planned: int) -> None:
        from cxr_infer.report.html import HtmlReport

        self._page = opened.enter_context(HtmlReport(limit, planned))

    def __enter__(self) -> Reports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    @property
    def wanted(self) -> bool:
        """Whether any report is still to be written."""
        return not {*self._tables, self._html_file} <= {*self._given_up, None}

    def show(self, result: FileResult, pairs: Pairs) -> None:
        """Add the pictures of an image to the HTML report."""
        if self._html_file is not None and self._page is not None:
            self._tried(self._html_file, partial(self._page.show, result, pairs))

    def add(self, result: FileResult) -> None:
        """Add the record of a file to all reports."""
        for file, table in self._tables.items():
            self._tried(file, partial(table.add, result))
        if self._html_file is not None:
            self._tried(self._html_file, partial(self._rows.add, result))

    def write(
        self, head: dict[str, Any], folders: tuple[str, ...], summary: Summary, *, measured: bool, interrupted: bool
    ) -> None:
        """Write the reports at the end of the run.

        folders: paths or URLs to remove from messages in the HTML report. measured: whether there were references.
        """
        for file, table in self._tables.items():
            self._tried(file, partial(table.write, file, head, summary, interrupted=interrupted))
        if self._html_file is not None and self._page is not None:
            from cxr_infer.report.html import RunFacts

            path, page, run = self._html_file, self._page, RunFacts(head, folders, measured, interrupted)
            self._tried(path, lambda: page.write(path, run, summary, self._rows))

    def _tried(self, file: Path, step: Callable[[], None]) -> None:
        """Run a step of a report, unless the report was abandoned before."""
        if file in self._given_up:
            return
        try:
            step()
        except UsageError:  # an invalid argument, before anything is computed
            raise
        except Exception as error:  # a failing report must not lose hours of denoising
            self._given_up.add(file)
            self.failed = True
            foreseen = isinstance(error, CxrError | OSError)
            reason = str(error) if foreseen else fault_line(error)
            LOG.log(logging.DEBUG if foreseen else logging.ERROR, "%s", traceback_of(error))
            about = "" if str(file) in reason else f"{file}: "
            self._say(f"{about}{reason}; continuing without this report")
