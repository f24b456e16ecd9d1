"""Parsed HTML reports, and the command that writes them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from tests.conftest import Run

VOID = {"meta", "input", "img"}


class Page(HTMLParser):
    """A parsed page; parsing fails on a tag that is not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []  # tag, name, value
        self.contents: dict[str, list[str]] = {}  # tag -> the text directly in each
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
            self.contents.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.contents[self.open[-1]][-1] += data
            if self.open[-1] not in ("script", "style"):
                self.words.append(data)

    def values(self, tag: str, name: str) -> list[str]:
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]

    @property
    def shown(self) -> str:
        return "".join(self.words)


def report_of(run: Run, folder: Path, *arguments: object, status: int = 0) -> tuple[Page, str]:
    """Run `dir` with `--report` and return the parsed page and its source."""
    path = folder.with_name("report.html")
    done = run("cxr-infer", "dir", folder, "--report", path, *arguments)
    assert done.returncode == status, done.stderr
    source = path.read_text("utf-8")
    return Page(source), source
