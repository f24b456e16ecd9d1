"""A result conforms to its schema, is read back as stored, and has all its points in the table."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.lab.output import default_folder, require_own_folder, write_result
from cxr_infer.lab.page import page
from cxr_infer.lab.protocol_files import protocol_hash
from cxr_infer.lab.result import LabResult, points, read_result
from cxr_infer.lab.schema import lab_schema
from cxr_infer.lab.table import HEADINGS, csv_lines
from tests.infer.lab.protocols import PROTOCOL
from tests.schemas import refuses

Schema = dict[str, Any]


def parts_of(content: dict[str, Any]) -> dict[str, Any]:
    """An example of each part that the schema describes."""
    finding = content["findings"][0]
    return {
        "protocol": content["protocol"]["content"],
        "signal": content["protocol"]["content"]["signals"][0],
        "method": content["methods"][0],
        "image": content["images"][0],
        "finding": finding,
        "axis": finding["x"],
        "series": finding["series"][0],
        "estimate": finding["series"][0]["y"][0],
        "map": finding["maps"][0],
    }


def test_a_result_conforms_to_its_schema_which_describes_every_key(result: LabResult) -> None:
    schema, content = lab_schema(), json.loads(result.to_json())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)
    assert set(content) == set(schema["properties"])
    assert set(content["protocol"]) == set(schema["properties"]["protocol"]["properties"])
    assert set(parts_of(content)) == set(schema["$defs"])
    for name, part in parts_of(content).items():
        assert set(part) == set(schema["$defs"][name]["properties"]), name
    for part in (schema, *schema["$defs"].values()):
        assert all(each["description"] for each in part["properties"].values())


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("lab",), 2),
        (("seed",), "7"),
        (("protocol", "sha256"), None),
        (("protocol", "content", "doses"), "50"),
        (("findings", 0, "draws"), "4"),
        (("findings", 0, "series", 0, "y", 0, "low"), "4"),
        (("methods", 0, "name"), None),
    ],
)
def test_the_schema_rejects_wrong_values(result: LabResult, place: tuple[Any, ...], wrong: object) -> None:
    refuses(lab_schema(), json.loads(result.to_json()), place, wrong)


def test_a_result_records_how_it_was_made(result: LabResult) -> None:
    content = result.to_dict()
    assert content["protocol"]["sha256"] == protocol_hash(PROTOCOL)
    assert (content["protocol"]["name"], content["protocol"]["version"], content["seed"]) == ("tiny", 3, 7)
    assert [method["name"] for method in content["methods"]] == ["noisy", "gaussian"]
    assert content["images"][0]["width"] == 96
    assert len(content["images"][0]["sha256"]) == 64
    assert content["versions"]["cxr-infer"]
    assert content["findings"][0]["seed"] == 7


def test_a_result_is_read_back_as_stored(result: LabResult, tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text(result.to_json())
    back = read_result(tmp_path / "lab.json")
    assert back.protocol == result.protocol
    assert (back.methods, back.images, back.date) == (result.methods, result.images, result.date)
    assert repr(points(back.findings)[0][2:]) == repr(points(result.findings)[0][2:])
    again = json.loads(back.to_json())
    for finding in again["findings"]:
        finding["maps"] = []
    expected = json.loads(result.to_json())
    for finding in expected["findings"]:
        finding["maps"] = []
    assert again == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read: not an object"),
        ('{"lab": 1, "findings": NaN}', "cannot be read"),
        ('{"lab": 9}', "not a result of format 1"),
        ('{"lab": 1}', "damaged"),
        ("nothing", "cannot be read"),
    ],
)
def test_files_other_than_results_are_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "lab.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as refused:
        read_result(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert str(refused.value).endswith("give a lab.json that cxr-infer lab wrote")
    assert len(str(refused.value).splitlines()) == 1


def test_the_table_has_a_row_for_every_point(result: LabResult) -> None:
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_lines(result.findings)).decode())))
    assert tuple(rows[0]) == HEADINGS
    assert len(rows) == 2 * 2 + 2 * 2
    for row, (finding, series, x, y) in zip(rows, points(result.findings), strict=True):
        assert (row["finding"], row["method"], row["condition"]) == (finding.key, series.method, series.condition)
        assert float(row["x"]) == pytest.approx(x)
        assert float(row["low"]) == pytest.approx(y.low, rel=1e-5, nan_ok=True)
        assert (int(row["draws"]), int(row["seed"])) == (finding.draws, finding.seed)


def test_fewer_draws_of_a_curve_appear_in_json_table_and_page(result: LabResult, tmp_path: Path) -> None:
    finding = result.findings[0]
    first, other = finding.series
    few = replace(result, findings=(replace(finding, series=(first, replace(other, draws=2))),))
    path = tmp_path / "lab.json"
    path.write_text(few.to_json())
    assert [each["draws"] for each in json.loads(path.read_text())["findings"][0]["series"]] == [4, 2]
    assert [each.draws for each in read_result(path).findings[0].series] == [None, 2]
    rows = csv.DictReader(io.StringIO(b"".join(csv_lines(few.findings)).decode()))
    assert [int(row["draws"]) for row in rows] == [4, 4, 2, 2]
    assert f"<dt>n</dt><dd>4; {other.method} 2</dd>" in page(few)


def test_results_of_earlier_versions_have_the_draws_of_their_findings(result: LabResult, tmp_path: Path) -> None:
    content = json.loads(result.to_json())
    for finding in content["findings"]:
        for series in finding["series"]:
            del series["draws"]
    for key in ("if_installed", "fewer_draws"):
        del content["protocol"]["content"][key]
    path = tmp_path / "lab.json"
    path.write_text(json.dumps(content))
    again = read_result(path)
    assert {series.draws for finding in again.findings for series in finding.series} == {None}
    assert again.protocol == result.protocol


def test_files_are_written_side_by_side(result: LabResult, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write_result(result, out) == [out / "lab.json", out / "lab.html"]
    write_result(result, out, csv=True, png=True)
    assert sorted(path.name for path in out.iterdir()) == ["lab.csv", "lab.html", "lab.json", "plots"]
    pictures = sorted((out / "plots").iterdir())
    assert [path.name for path in pictures] == ["error-all.png", "levels-all-.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_a_folder_of_other_files_is_refused(result: LabResult, tmp_path: Path) -> None:
    require_own_folder(tmp_path / "new")
    require_own_folder(tmp_path)
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(UsageError, match="has files but no result of cxr-infer lab; give -o another directory"):
        require_own_folder(tmp_path)
    with pytest.raises(UsageError, match="not a directory"):
        require_own_folder(tmp_path / "other.txt")
    write_result(result, tmp_path)
    require_own_folder(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_in_place_of_results_are_not_followed(
    result: LabResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "lab-tiny"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("precious")
    monkeypatch.chdir(tmp_path)
    assert default_folder("tiny") == Path("lab-tiny")
    out.symlink_to(elsewhere)
    with pytest.raises(UsageError, match=r"^lab-tiny: is a link; give -o the directory of the result$"):
        default_folder("tiny")
    out.unlink()
    write_result(result, out)
    (out / "plots").symlink_to(elsewhere)
    for name in ("lab.json", "lab.html", "lab.csv"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(elsewhere / "mine")
    with pytest.raises(UsageError, match="plots: is a link; remove it or give -o another"):
        require_own_folder(out)
    with pytest.raises(ImageError, match=r"plots: is a link, which is not followed"):
        write_result(result, out, csv=True, png=True)
    assert read_result(out / "lab.json").findings
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]
    assert (elsewhere / "mine").read_text() == "precious"
