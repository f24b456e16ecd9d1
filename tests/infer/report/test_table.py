"""Tables and progress bars fit the terminal: no row is broken, the main figures are shown, and means are correct."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console

from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.pixels import from_unit
from cxr_infer.report.results import DONE, FINISHED, SKIPPED, FileResult, Summary
from cxr_infer.report.table import TableColumn, fitted, shortened
from cxr_infer.report.terminal import ShownResults, print_results, print_table, small_figure
from tests.conftest import COMMAND, Run
from tests.terminals import terminal

RULE = "─" * 20
NAMES = ("a.png", "ward 7/patient-000123/study-20261128-lateral-upright-0001.png", "Ж/лёгкие.png", "胸部/正面像.png")
BAR = re.compile(r"denoising .*")
TEXTS = TableColumn("file", ["patient-1/image-1.png", "b.png"], name=True)
NONE = "–"  # noqa: RUF001  an en dash, as in the table
FIGURES = [
    TableColumn("PSNR", ["37.86", NONE]),
    TableColumn("MSE", ["1.6e-4", NONE], 1),
    TableColumn("ms", ["150", NONE], 2),
]


@pytest.fixture
def pair(tmp_path: Path, noisy: NDArray[np.float32], clean: NDArray[np.float32]) -> Path:
    """Noisy files in x, the clean ones in clean."""
    for index, name in enumerate(NAMES):
        part = (slice(16 * index, 16 * index + 128), slice(64, 192))
        write_image(tmp_path / "x" / name, from_unit(noisy[part], np.dtype(np.uint8)))
        write_image(tmp_path / "clean" / name, from_unit(clean[part], np.dtype(np.uint8)))
    return tmp_path / "x"


def lines_of_table(lines: list[str]) -> list[str]:
    """Return the heading and the rows of the table."""
    rule = next(index for index, line in enumerate(lines) if line.startswith(RULE))
    ends = next(index for index, line in enumerate(lines) if line.startswith("mottle:"))
    return [line for line in (lines[rule - 1], *lines[rule + 1 : ends]) if line.strip()]


def table_of(lines: list[str]) -> list[list[str]]:
    """Return the cells of the heading and of each row."""
    return [re.split(r" {2,}", line.strip()) for line in lines_of_table(lines)]


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (60, "file mottle PSNR dB SSIM MSE"),
        (80, "file mottle photons PSNR dB SSIM MSE"),
        (120, "file size mottle photons PSNR dB SSIM MSE ms MP/s"),
    ],
)
def test_the_results_are_readable_at_every_width(pair: Path, columns: int, headings: str) -> None:
    command = [*COMMAND, "dir", "x", "--reference", "clean", "--json", "r.json"]
    with terminal(command, columns, pair.parent) as shown:
        shown.read()
        assert shown.process.wait() == 0
    records = sorted(json.loads((pair.parent / "r.json").read_text())["files"], key=lambda record: record["name"])
    heading, *rows = table_of(shown.lines)
    assert " ".join(heading) == headings
    assert len(rows) == len(NAMES) + 1, "a row for each file, and the mean"
    assert all(cell_len(line) <= columns for line in lines_of_table(shown.lines))
    by_end = {row[0].lstrip("…"): dict(zip(heading, row, strict=True)) for row in rows[:-1]}
    for record in records:
        (row,) = (row for end, row in by_end.items() if record["name"].endswith(end))
        assert row["PSNR dB"] == f"{record['psnr']:.2f}"
        assert float(row["MSE"]) == pytest.approx(record["mse"], rel=0.05)
        assert re.fullmatch(r"\d\.\de-?\d+", row["MSE"])
        assert row["file"] == record["name"] or row["file"].startswith("…")


def test_the_progress_bar_always_shows_its_total(pair: Path) -> None:
    with terminal([*COMMAND, "dir", "x"], 60, pair.parent, stdout=False) as shown:
        shown.read()
        assert shown.process.wait() == 0
    frames = [match[0] for line in shown.lines if (match := BAR.match(line))]
    assert all(re.search(r"━ [0-4]/4 \d:\d\d:\d\d left [-\d]:[-\d]{2}:[-\d]{2}( |$)", frame) for frame in frames), (
        frames
    )
    assert any("4/4" in frame for frame in frames)
    assert any(line.endswith("listing x") for line in shown.lines), "listing can take a minute"
    assert all(cell_len(line) <= 60 for line in frames)


def test_the_progress_bar_fits_its_terminal_if_stdout_is_redirected(pair: Path) -> None:
    command = ["sh", "-c", '"$@" < /dev/null > /dev/null', "sh", *COMMAND, "dir", "x"]
    with terminal(command, 60, pair.parent) as shown:
        shown.read()
    assert all(cell_len(line) <= 60 for line in shown.lines if BAR.match(line))


def test_tables_are_not_shortened_without_a_terminal(run: Run, pair: Path) -> None:
    done = run("cxr-infer", "dir", "x", "--reference", "clean", COLUMNS="40")
    heading, *rows = table_of(done.stdout.splitlines())
    assert heading[0] == "file"
    assert heading[-1] == "MP/s"
    assert {row[0] for row in rows} == {*NAMES, "mean of 4"}


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_rows_of_the_models_table_are_not_broken(pair: Path, columns: int) -> None:
    with terminal([*COMMAND, "models"], columns, pair.parent) as shown:
        shown.read()
    rule = next(index for index, line in enumerate(shown.lines) if line.startswith(RULE))
    for name, line in zip(("original", "new", "window", "window"), shown.lines[rule + 1 :], strict=False):
        assert re.fullmatch(rf"{name} +(fp32|int8) .*yes +(…|/).*\.onnx *", line)
        assert cell_len(line) <= columns


@pytest.mark.parametrize("width", [60, 80])
def test_rows_of_a_wide_table_are_not_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    cells = ["published, wrapping + repair", "OpenCV non-local means", "3.2e-4", "34.32", "0.9165", "0.013"]
    headings = ("noise", "method", "MSE", "PSNR dB", "SSIM", "published MSE")
    console = Console(force_terminal=True, color_system=None, width=width)
    monkeypatch.setattr("cxr_infer.report.terminal.stdout_console", lambda: console)
    dropped, names = ("published MSE", "SSIM"), ("noise", "method")
    print_table("test split", headings, [cells, cells], dropped=dropped, names=names)
    _, heading, rule, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2
    assert max(map(cell_len, (heading, rule, *rows))) <= width
    assert all(kept in row for kept in ("3.2e-4", "34.32") for row in rows)
    assert ("0.9165" in rows[0]) is (width == 80)


def result(name: str, status: str = DONE, **figures: float | str) -> FileResult:
    return FileResult(name, status, FINISHED if status == SKIPPED else "", None, 100, 100, 8, **figures)  # type: ignore[arg-type]


def test_the_mean_row_is_the_mean_of_the_rows_above(capsys: pytest.CaptureFixture[str]) -> None:
    summary, shown = Summary(), ShownResults()
    results = (
        result("a", mottle_before=10.0, mottle_after=1.0, psnr=30.0, milliseconds=147.0, megapixels_per_second=2.0),
        result("b", mottle_before=20.0, mottle_after=2.0, psnr=36.0, milliseconds=212.0, megapixels_per_second=1.0),
        result(
            "c",
            mottle_before=90.0,
            mottle_after=9.0,
            mottle_left="unsure",
            milliseconds=151.0,
            megapixels_per_second=3.0,
        ),
        result("d", SKIPPED, mottle_before=30.0, mottle_after=3.0, psnr=33.0),
    )
    for one in results:
        summary.add(one)
        shown.add(one)
    summary.seconds = 0.25
    print_results(shown, summary, "title")
    lines = capsys.readouterr().out.splitlines()
    heading, *rows = table_of(lines)
    mean = dict(zip([h for h in heading if h not in ("size", "photons", "SSIM", "MSE")], rows[-1], strict=False))
    assert (mean["file"], mean["mottle"], mean["PSNR dB"]) == ("mean of 4", "20.0 → 2.0", "33.00")
    assert rows[-1][-2:] == ["170", "2.00"], "means of the rows, not of the run"
    assert "mean mottle: over the 3 files with a sure estimate" in lines
    assert "mean PSNR, SSIM and MSE: over the 3 files with a reference" in lines
    assert "mean ms and MP/s: over the 3 files denoised in this run" in lines
    assert "total: 0.03 MP in 0.25 s, 0.12 MP/s" in lines


def test_a_mean_over_one_file_says_so_in_the_singular(capsys: pytest.CaptureFixture[str]) -> None:
    summary, shown = Summary(), ShownResults()
    for one in (
        result("a", mottle_before=20.0, mottle_after=2.0),
        result("b", mottle_before=9.0, mottle_left="unsure"),
    ):
        summary.add(one)
        shown.add(one)
    print_results(shown, summary, "title")
    assert "mean mottle: over the 1 file with a sure estimate" in capsys.readouterr().out.splitlines()


def test_a_single_file_has_no_mean_row(capsys: pytest.CaptureFixture[str]) -> None:
    summary, shown = Summary(), ShownResults()
    one = result("a", mottle_before=10.0, mottle_after=1.0)
    summary.add(one)
    shown.add(one)
    print_results(shown, summary, "title")
    assert [row[0] for row in table_of(capsys.readouterr().out.splitlines())] == ["file", "a"]


def test_columns_are_dropped_before_names_become_unreadable() -> None:
    wide = fitted([TEXTS, *FIGURES], 100)
    assert [column.heading for column in wide] == ["file", "PSNR", "MSE", "ms"]
    assert wide[0].cells == TEXTS.cells
    narrow = fitted([TEXTS, *FIGURES], 38)
    assert [column.heading for column in narrow] == ["file", "PSNR", "MSE"]
    assert narrow[0].cells == ["patient-1/image-1.png", "b.png"]
    least = fitted([TEXTS, *FIGURES], 16)
    assert [column.heading for column in least] == ["file", "PSNR"]
    assert least[0].cells == ["…ge-1.png", "b.png"]
    assert fitted([TEXTS, *FIGURES], None) == [TEXTS, *FIGURES]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "…cd"), ("胸部正面像", 6, "…面像"), ("胸部正面像", 5, "…面像"), ("abc", 1, "…")],
)
def test_a_shortened_text_keeps_its_end(text: str, width: int, expected: str) -> None:
    assert shortened(text, width) == expected


def test_small_figures_have_two_digits() -> None:
    assert [small_figure(v) for v in (None, 0.0, 3.17e-4, 0.003, 1e-12, 0.25)] == [
        *("–", "0", "3.2e-4", "3.0e-3", "1.0e-12", "2.5e-1")  # noqa: RUF001
    ]


def test_brackets_in_a_table_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    heading = "prog '[red]x[/red]' [bold]"
    print_table("title [i]", ("measured", heading), [["[b]lines[/b]", "0"]])
    title, headings, _, row = capsys.readouterr().out.splitlines()[:4]
    assert title == "title [i]"
    assert headings.split("  ", 1)[1].strip() == heading
    assert row.split() == ["[b]lines[/b]", "0"]
