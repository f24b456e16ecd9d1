from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import detectors, lab, listing, quality, scale, speed
from benchmarks.pages import machine, read_page, write_page
from cxr_infer.errors import DataError
from tests.conftest import REPOSITORY

PAGES = REPOSITORY / "docs" / "benchmarks"


@pytest.mark.parametrize(
    ("command", "page"),
    [
        (quality.COMMAND, "quality.md"),
        (detectors.COMMAND, "detectors.md"),
        (lab.COMMAND, "lab.md"),
        (speed.COMMAND, "speed.md"),
        (scale.COMMAND, "scale.md"),
        (listing.COMMAND, "scale.md"),
    ],
)
def test_every_page_has_the_marks_of_its_benchmark(command: str, page: str, tmp_path: Path) -> None:
    text = read_page(PAGES / page, command)
    written = tmp_path / page
    write_page(written, text, "| a |\n", command)
    after = written.read_text()
    said = re.search(r"\n\nMeasured on \d+ [A-Z][a-z]+ \d{4} on (.*)\.\n\n\| a \|\n\n<!-- end", after)
    assert said is not None
    assert said[1] == machine()
    assert len(after) < len(text)


def test_every_table_says_when_it_was_measured() -> None:
    for page in PAGES.glob("*.md"):
        parts = page.read_text().split("<!-- figures, written by ")[1:]
        assert parts, page
        for part in parts:
            assert re.match(r".* -->\n\nMeasured on \d+ [A-Z][a-z]+ \d{4}\b", part), page


def test_a_page_without_marks_is_refused_before_measuring(tmp_path: Path) -> None:
    assert read_page(None, "a command") == ""
    (tmp_path / "page.md").write_text("no marks")
    with pytest.raises(DataError, match="the page has no lines"):
        read_page(tmp_path / "page.md", "a command")
    with pytest.raises(DataError, match="cannot be read"):
        read_page(tmp_path / "none.md", "a command")
