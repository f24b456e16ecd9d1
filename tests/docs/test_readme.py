"""The README is short, has exactly its sections, and shows the figures of the pages that it summarises."""

from __future__ import annotations

import re

import yaml

import cxr_infer
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
MOST_WORDS = 700
PARTS = ["Install", "Command line", "Python", "How well it works", "Limits", "How to cite", "Documentation"]
FIRST = (
    "python3 -m venv .venv && . .venv/bin/activate && pip install . && cxr-infer sample ./xrays && "
    "cxr-infer dir ./xrays --model window"
)


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of all tables in a text, without emphasis."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip(" *") for cell in line.strip("| ").split("|")] for line in lines]


def references_of(name: str) -> set[str]:
    return set(re.findall(r"^\[([^\]]+)\]: ", (REPOSITORY / name).read_text(), re.MULTILINE))


def test_the_readme_is_short_and_has_its_sections() -> None:
    assert len(README.split()) <= MOST_WORDS
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == PARTS
    assert README.count("![") == 1
    assert "**Research use only.**" in README
    limits = README.partition("## Limits")[2].partition("\n## ")[0]
    assert len(re.findall(r"^- \*\*", limits, re.MULTILINE)) == 5


def test_the_readme_contains_the_first_command_verbatim() -> None:
    assert f"```sh\n{FIRST}\n```" in README


def test_the_table_has_the_figures_of_the_benchmark() -> None:
    page = (REPOSITORY / "docs" / "benchmarks" / "quality.md").read_text()
    figures = page.partition("<!-- figures")[2].partition("\n## ")[0]
    heading, *rows = rows_of(figures)
    measured = {row[0]: dict(zip(heading, row, strict=True)) for row in rows[1:5]}
    told = rows_of(README)[2:]
    assert len(told) == 4
    for dose, noisy, non_local_means, window in told:
        row = measured[f"{dose} photons"]
        assert (noisy, window.strip("*")) == (row["noisy"], row["window"])
        assert non_local_means == max(row["OpenCV NLM"], row["NLM on Anscombe"], key=psnr)


def psnr(cell: str) -> float:
    return float(cell.split("/")[0])


def test_readme_and_home_page_define_the_same_links() -> None:
    """The home page includes the text of the README, so both files must define the target of each link."""
    named = set(re.findall(r"\]\[([^\]]+)\]", README))
    assert named == references_of("README.md") == references_of("docs/index.md")


def test_other_root_files_on_the_site_contain_no_relative_links() -> None:
    """A relative link would have another target on the site than in the repository, so files are named as `code`."""
    pages = (page.read_text() for page in (REPOSITORY / "docs").rglob("*.md"))
    shown = {name for page in pages for name in re.findall(r'^--8<-- "([^":]+)', page, re.MULTILINE)}
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "train/EXPERIMENTS.md"} <= shown
    for name in shown - {"README.md"}:
        targets = re.findall(r"\]\(([^)]+)\)", (REPOSITORY / name).read_text())
        assert all("://" in target or target.startswith("#") for target in targets), name


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == cxr_infer.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert [reference["type"] for reference in citation["references"]] == ["conference-paper", "data"]
