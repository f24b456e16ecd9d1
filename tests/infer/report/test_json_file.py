from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxr_infer import ImageError
from cxr_infer.report.json_file import JsonReport, open_report
from cxr_infer.report.results import DONE, FileResult, Summary
from cxr_infer.scratch import IN_MEMORY
from tests.full_disk import full_disk


@pytest.mark.parametrize("count", [0, 1, 3, 4000])
def test_a_report_holds_every_record_in_order(tmp_path: Path, count: int) -> None:
    summary = Summary()
    with JsonReport() as records:
        for index in range(count):
            result = FileResult(f"{index} \n é.png", DONE, width=10, height=10)
            summary.add(result)
            records.add(result)
        records.write(tmp_path / "r.json", {"input": "in"}, summary, interrupted=False)
    text = (tmp_path / "r.json").read_text()
    report = json.loads(text)
    assert list(report) == ["input", "files", "interrupted", "summary"]
    assert [record["name"] for record in report["files"]] == [f"{index} \n é.png" for index in range(count)]
    assert report["summary"]["done"] == count
    if count == 4000:
        assert len(text) > IN_MEMORY, "large enough to use the temporary file"


def test_a_full_disk_is_reported_in_one_line() -> None:
    message = r"^cannot store the report: .*; set TMPDIR to a directory with free space$"
    with JsonReport() as records, full_disk(), pytest.raises(ImageError, match=message):
        records.add(FileResult("a.png", DONE, "x" * 2 * IN_MEMORY))


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_records_can_be_read_back_after_the_report_is_written(tmp_path: Path, name: str) -> None:
    """The page of `--report`, which is written later, reads them."""
    added = [FileResult(f"{index}.png", DONE, width=index) for index in range(3)]
    with open_report(tmp_path / name) as records:
        for result in added:
            records.add(result)
        records.write(tmp_path / name, {"input": "in"}, Summary(), interrupted=False)
        assert list(records.results()) == added
        assert list(records.results()) == added
