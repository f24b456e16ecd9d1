"""A change of shipped weights or output pixels is a new minor version: CHANGELOG.md, the tables of hashes in the
models' READMEs, the manifest and the git history agree.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pydicom
import pytest

from cxr_infer import __version__
from cxr_infer.formats.radiograph import METHOD
from cxr_infer.model.card import MODEL_NAMES
from tests.conftest import REPOSITORY, Run
from tests.infer.formats.dicom.dicom_files import RAMP, computed, encoded, stored

DIGITS = 16  # of a SHA-256 in the tables, as in `cxr-infer models`
UNRELEASED = "unreleased"
WEIGHTS = REPOSITORY / "weights"

Version = tuple[int, ...]


def version(text: str) -> Version:
    return tuple(map(int, text.split(".")))


@dataclass(frozen=True)
class Row:
    """A row of a model's table: the first version whose files have these hashes.

    date, commit: empty until the version is released. hashes: by file name.
    """

    version: str
    date: str
    commit: str
    hashes: dict[str, str]


def changelog() -> dict[str, tuple[str, str]]:
    """Return date, or UNRELEASED, and text of each version, newest first."""
    parts = re.split(r"^## \[(.+)\] - (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    return {number: (date, text) for number, date, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def table(model: str) -> list[Row]:
    """Return the table of versions in a model's README."""
    text = (WEIGHTS / model / "README.md").read_text()
    found = re.search(r"^\| version \|.*?(?=^$|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"weights/{model}/README.md has no table of versions"
    head, _, *lines = ([cell.strip(" `") for cell in line.strip("|").split("|")] for line in found[0].splitlines())
    files = [name for name in head if name.endswith(".onnx")]
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    return [Row(r["version"], r["date"], r["commit"], {f: r[f] for f in files if r[f]}) for r in rows]


def shipped(model: str) -> dict[str, str]:
    """Return the hashes of a model's files in the manifest, by file name."""
    files = json.loads((WEIGHTS / "manifest.json").read_text())["models"][model]["files"].values()
    return {Path(entry["file"]).name: entry["sha256"][:DIGITS] for entry in files}


def problems(model: str, rows: list[Row], present: str, released: dict[str, str], files: dict[str, str]) -> list[str]:
    """Return the errors in a model's table, each with advice.

    present: version of the package. released: date of each version in the changelog. files: the shipped hashes.
    """
    place = f"weights/{model}/README.md"
    found = []
    if rows[-1].hashes != files:
        cells = " | ".join((present, "", "", *(f"`{digits}`" for digits in files.values()), "what changed"))
        found.append(
            f"{place}: other files are shipped than the last row says; if that row is of {present} and "
            f"{UNRELEASED}, replace it, otherwise raise the version by the rule in CONTRIBUTING.md: | {cells} |"
        )
    numbers = [version(row.version) for row in rows]
    if numbers != sorted(set(numbers)) or numbers[-1] > version(present):
        found.append(f"{place}: the versions must rise, up to {present}")
    found += [f"{place}: {row.version} is no minor version" for row in rows if version(row.version)[-1] != 0]
    for row, before in zip(rows[1:], rows, strict=False):
        if row.hashes == before.hashes:
            found.append(f"{place}: {row.version} changed no file, leave its row out")
    for row in rows:
        date = released.get(row.version)
        if date is None or row.date != ("" if date == UNRELEASED else date):
            found.append(f"{place}: the date of {row.version} is not that of CHANGELOG.md, {date}")
        if bool(row.commit) == (date == UNRELEASED):
            found.append(f"{place}: {row.version} needs the commit that changed the files, if it is released")
    return found


def from_history(model: str, row: Row, read: Callable[[str, str], bytes | None]) -> dict[str, str] | None:
    """Return the hashes of the files in the commit of a row, None if it is not here. read: by commit and path."""
    contents = {name: read(row.commit, f"weights/{model}/{name}") for name in row.hashes}
    if any(content is None for content in contents.values()):
        return None
    return {name: sha256(content).hexdigest()[:DIGITS] for name, content in contents.items() if content is not None}


def in_git(commit: str, path: str) -> bytes | None:
    command = ["git", "cat-file", "blob", f"{commit}:{path}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True)
    return done.stdout if done.returncode == 0 else None


def test_the_package_has_the_newest_version_of_the_changelog() -> None:
    versions = changelog()
    assert next(iter(versions)) == __version__
    numbers = [version(number) for number in versions]
    assert numbers == sorted(set(numbers), reverse=True)
    dates = [date for date, _ in versions.values()]
    assert UNRELEASED not in dates[1:]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates[dates[0] == UNRELEASED :])
    assert all(
        re.search(r"^### (Added|Changed|Fixed|Removed|Security|Deprecated)\n\n- ", text, re.MULTILINE)
        for _, text in versions.values()
    )


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_shipped_files_are_those_of_the_current_version(model: str) -> None:
    released = {number: date for number, (date, _) in changelog().items()}
    assert problems(model, table(model), __version__, released, shipped(model)) == []


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_released_rows_agree_with_the_git_history(model: str) -> None:
    """Nobody can ship other weights by rewriting the row of a released version."""
    rows = [row for row in table(model) if row.commit]
    assert rows
    for row in rows:
        found = from_history(model, row, in_git)
        if found is None:
            pytest.skip(f"commit {row.commit} is not in this checkout")
        assert found == row.hashes, row.version


def test_the_changelog_states_the_current_method() -> None:
    """Every change of output pixels raises METHOD, and a version with a new METHOD is a minor one that says so."""
    said = {
        number: int(n) for number, (_, text) in changelog().items() for n in re.findall(r"^- Method (\d+)", text, re.M)
    }
    assert list(said.values()) == sorted(said.values(), reverse=True)
    newest = next(iter(said))
    assert said[newest] == METHOD, "METHOD was changed: raise the version by the rule in CONTRIBUTING.md, and say so"
    assert all(version(number)[-1] == 0 for number in said)


OLD = Row("0.1.0", "2026-01-01", "abc", {"model.onnx": "00"})
NEW = Row("0.2.0", "2026-01-02", "def", {"model.onnx": "11"})
DATES = {"0.1.0": "2026-01-01", "0.2.0": "2026-01-02", "0.3.0": UNRELEASED}
NEXT = Row("0.3.0", "", "", {"model.onnx": "22"})


@pytest.mark.parametrize(
    ("rows", "present", "shipped_hash"),
    [
        ([OLD, NEW], "0.2.0", "11"),
        ([OLD, NEW], "0.3.0", "11"),  # a version that does not change the files
        ([OLD, NEW, NEXT], "0.3.0", "22"),
    ],
)
def test_valid_tables_pass(rows: list[Row], present: str, shipped_hash: str) -> None:
    assert problems("m", rows, present, DATES, {"model.onnx": shipped_hash}) == []


@pytest.mark.parametrize(
    ("rows", "present", "problem"),
    [
        ([OLD, NEW], "0.2.0", r"other files are shipped.*\| 0.2.0 \|  \|  \| `22` \|"),
        ([OLD, NEW], "0.3.0", "other files are shipped"),
        ([OLD, NEW, replace(NEXT, version="0.2.0")], "0.2.0", "the versions must rise"),
        ([OLD, NEW, NEXT], "0.2.0", "the versions must rise, up to 0.2.0"),
        ([OLD, replace(NEXT, version="0.2.0")], "0.2.0", "the date of 0.2.0 is not that of CHANGELOG.md, 2026-01-02"),
        ([OLD, replace(NEW, hashes=NEXT.hashes, commit="")], "0.2.0", "0.2.0 needs the commit"),
        ([OLD, NEW, replace(NEXT, version="0.2.5")], "0.3.0", "the date of 0.2.5 is not that of CHANGELOG.md, None"),
        ([OLD, NEW, replace(NEXT, version="0.2.5")], "0.3.0", "0.2.5 is no minor version"),
        ([OLD, replace(NEW, hashes=OLD.hashes)], "0.2.0", "0.2.0 changed no file"),
    ],
)
def test_changed_weights_without_a_new_version_are_reported(rows: list[Row], present: str, problem: str) -> None:
    found = problems("m", rows, present, DATES, {"model.onnx": "22"})
    assert re.search(problem, "\n".join(found)), found


def test_a_rewritten_row_is_detected() -> None:
    content = {("def", "weights/m/model.onnx"): b"released"}

    def read(commit: str, path: str) -> bytes | None:
        return content.get((commit, path))

    assert from_history("m", NEW, read) not in (None, NEW.hashes)
    assert from_history("m", replace(NEW, hashes={"model.onnx": sha256(b"released").hexdigest()[:DIGITS]}), read) == {
        "model.onnx": sha256(b"released").hexdigest()[:DIGITS]
    }
    assert from_history("m", OLD, read) is None


def test_results_and_reports_say_which_version_made_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.dcm").write_bytes(encoded(computed(stored(RAMP, 8), 8)))
    assert run("cxr-infer", "dir", "x", "--json", "r.json", "--report", "r.html").returncode == 0
    made_by = pydicom.dcmread(tmp_path / "x-denoised" / "a.dcm")
    assert made_by.ContributingEquipmentSequence[-1].SoftwareVersions == __version__
    assert f"cxr-infer {__version__}:" in made_by.DerivationDescription
    assert made_by.file_meta.ImplementationVersionName == f"CXR_INFER_{__version__}"
    assert json.loads((tmp_path / "r.json").read_text())["versions"]["cxr-infer"] == __version__
    assert f"cxr-infer {__version__}" in (tmp_path / "r.html").read_text()
    assert run("cxr-infer", "--version").stdout == f"cxr-infer {__version__}\n"
