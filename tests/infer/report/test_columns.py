"""Each figure is defined once, in `COLUMNS`, and every report takes it from there."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from cxr_infer.report import columns, csv_file
from cxr_infer.report.columns import COLUMNS, Column, Figures, Mean
from cxr_infer.report.html import markup
from cxr_infer.report.results import DONE, FileResult, Summary
from cxr_infer.report.terminal import ShownResults, print_results


def test_every_figure_has_one_column() -> None:
    keys = [column.key for column in COLUMNS]
    assert len(set(keys)) == len(keys)
    stored = {one.name for one in fields(Figures)}
    assert stored <= set(keys)
    assert all(hasattr(Figures(), key) for key in keys)
    assert all(column.meaning for column in COLUMNS if column.key in stored)
    assert all(column.heading for column in COLUMNS if column.page or column.card or column.rank is not None)
    assert all(column.then in {*keys, ""} for column in COLUMNS)


def test_a_new_column_appears_in_every_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row of `COLUMNS` is enough: nothing else names a figure."""
    mean = Mean("mean lines: of {}")
    new = Column("bits", heading="lines", unit="px", words=columns.fixed(3), mean=mean, rank=1, page=True, csv=True)
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, new))
    monkeypatch.setattr("cxr_infer.report.results.AVERAGED", (new,))
    monkeypatch.setattr(csv_file, "FIGURES", (new,))
    summary, shown = Summary(), ShownResults()
    results = [FileResult(f"{bits}.png", DONE, bits=bits) for bits in (8, 16)]
    for result in results:
        summary.add(result)
        shown.add(result)
    print_results(shown, summary, "title")
    table = capsys.readouterr().out
    assert "lines px" in table
    assert "16.000" in table
    assert "12.000" in table, "the mean"
    assert summary.to_dict()["means"] == {"bits": 12.0}
    assert '<td data-value="16">16.000</td>' in markup.row(results[1], "", None, with_reference=False)
    assert [row[-1] for row in csv_file.rows(results)][1:6] == [8, 16, 12.0, pytest.approx(32**0.5), 2]


def test_the_csv_has_a_row_per_file_and_then_the_means_of_each_folder(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    with csv_file.CsvReport() as report:
        for name, psnr, unsure in (("b/2.png", 34.0, False), ("a.png", 30.0, False), ("b/1.png", 32.0, True)):
            noise = {"mottle_before": 8.0, "mottle_after": 1.0, "mottle_left": "unsure" if unsure else None}
            report.add(FileResult(name, DONE, "a, b", psnr_before=20.0, psnr=psnr, **noise))  # type: ignore[arg-type]
        report.add(FileResult("=1+1.png", "failed", "line\nbreak"))
        report.write(path, {}, Summary(), interrupted=False)
    import csv

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    files, summaries = rows[:4], rows[4:]
    assert [row["file"] for row in files] == ["b/2.png", "a.png", "b/1.png", "'=1+1.png"]
    assert [row["folder"] for row in files] == ["b", ".", "b", "."]
    assert (files[0]["psnr_before"], files[0]["psnr"], files[0]["message"]) == ("20", "34", "a, b")
    assert (files[3]["status"], files[3]["message"], files[3]["psnr"]) == ("failed", "line\\nbreak", "")
    by_row = {(row["row"], row["folder"]): row for row in summaries}
    assert list(by_row) == [(kind, folder) for folder in (".", "b", "*") for kind in ("mean", "SD", "n")]
    assert [by_row[kind, "b"]["psnr"] for kind in ("mean", "SD", "n")] == ["33", "1.41421", "2"]
    assert [by_row[kind, "."]["psnr"] for kind in ("mean", "SD", "n")] == ["30", "", "1"]
    assert [by_row[kind, "*"]["psnr"] for kind in ("mean", "SD", "n")] == ["32", "2", "3"]
    assert by_row["n", "b"]["mottle_before"] == "1", "unsure estimates are excluded from the mean"
    assert [row["mottle_after"] for row in files[:3]] == ["1", "1", ""]
