"""The gate passes an equal network and names the losses of a worse one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmarks.lab import COMMAND, app, said_of
from benchmarks.lab_gate import GUARDED, compare, most_by_chance
from benchmarks.pages import read_page
from cxr_infer.errors import DataError
from cxr_infer.lab.findings import Estimate, Finding, Series
from cxr_infer.lab.result import LabResult, read_result
from cxr_infer.lab.studies import STUDIES

TINY = """
name = "tiny"
version = 1
seed = 3
phantoms = 1
side = 96
spacing = 0.5
doses = [200]
noises = ["white"]
methods = ["noisy", "window"]
contrasts = [16, 64]
draws = 3
studies = ["contrast-kept", "lines", "brightness"]

[[signal]]
kind = "disc"
size = 1
contrast = 16
"""


def gate(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stored result of `window`, its protocol, and a page with its tables."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "lab.md").write_text(f"# Lab\n\n<!-- figures, written by {COMMAND} -->\n\n<!-- end of figures -->\n")
    done = gate(folder / "tiny.toml", "--store", folder / "lab.json", "--page", folder / "lab.md")
    assert done.exit_code == 0, done.output
    return folder


def test_the_page_has_the_tables(stored: Path) -> None:
    page = read_page(stored / "lab.md", COMMAND)
    assert "Protocol `tiny`, version 1 (SHA-256 " in page
    assert "| disc, 1 mm, +16; white | 200 |" in page
    assert "Measured on" in page


def test_an_equal_network_passes(stored: Path) -> None:
    done = gate("--against", stored / "lab.json")
    assert done.exit_code == 0, done.output
    assert "0 worse, 4 the same, 0 better, 0 missing" in done.output


def test_a_worse_network_fails_and_its_losses_are_named(stored: Path) -> None:
    done = gate("--against", stored / "lab.json", "--model", "gaussian")
    assert done.exit_code == 1, done.output
    assert "worse: contrast-kept/disc-1mm, 200 photons, white, contrast 64: share of the contrast kept " in done.output


def test_results_that_cannot_be_compared_are_refused(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(TINY.replace("seed = 3", "seed = 4"))
    done = gate(tmp_path / "other.toml", "--against", stored / "lab.json")
    assert done.exit_code == 2
    assert "other.toml: not the protocol of --against; omit it" in done.output
    result = json.loads((stored / "lab.json").read_text())
    result["protocol"]["content"]["methods"] = ["noisy"]
    (tmp_path / "lab.json").write_text(json.dumps(result))
    assert "no figures of window" in gate("--against", tmp_path / "lab.json").output


def changed(finding: Finding, method: str, by: float) -> Finding:
    """Return the finding with one method's values shifted."""
    moved = tuple(
        Series(each.method, each.condition, each.x, tuple(_moved(y, by) for y in each.y))
        if each.method == method
        else each
        for each in finding.series
    )
    return replace(finding, series=moved)


def _moved(y: Estimate, by: float) -> Estimate:
    return Estimate(y.value + by, y.low + by, y.high + by)


@pytest.mark.parametrize(
    ("key", "worse"), [("contrast-kept/disc-1mm", -1.0), ("lines/lost", 1e4), ("lines/made-up", 1e4)]
)
def test_a_loss_in_any_guarded_figure_fails(stored: Path, key: str, worse: float) -> None:
    before = read_result(stored / "lab.json")

    def with_moved(by: float) -> LabResult:
        findings = (changed(each, "window", by) if each.key == key else each for each in before.findings)
        return replace(before, findings=tuple(findings))

    assert compare(before, before, "window", "window").passes
    compared = compare(before, with_moved(worse), "window", "window")
    assert not compared.passes
    assert {pair.finding.key for pair in compared.worse} == {key}
    assert any(line.startswith(f"worse: {key}") for line in said_of(compared))
    assert compare(before, with_moved(-worse), "window", "window").passes, "an improvement is not a loss"


def test_a_loss_within_the_uncertainty_passes(stored: Path) -> None:
    before = read_result(stored / "lab.json")
    kept, *others = before.findings
    (series,) = (each for each in kept.series if each.method == "window")
    widths = [y.high - y.low for y in series.y]
    assert min(widths) > 0
    assert kept.key == "contrast-kept/disc-1mm"
    for lost, passes in ((0.9 * min(widths), True), (1.1 * max(widths), False)):
        measured = replace(before, findings=(changed(kept, "window", -lost), *others))
        assert compare(before, measured, "window", "window").passes is passes


@pytest.mark.slow
def test_a_few_of_many_points_may_be_worse_by_chance(stored: Path) -> None:
    """Equal networks pass, except one in twenty; a network that is worse by a standard error everywhere fails."""
    before = read_result(stored / "lab.json")
    finding, rng = before.findings[0], np.random.default_rng(4)

    def measured(points: int, loss: float) -> LabResult:
        values = rng.standard_normal(points) - loss
        drawn = tuple(Estimate(value, value - 1.96, value + 1.96) for value in values)
        series = Series("window", "white", tuple(map(float, range(points))), drawn)
        return replace(before, findings=(replace(finding, series=(series,)),))

    def refused(points: int, loss: float) -> float:
        runs = (compare(measured(points, 0.0), measured(points, loss), "window", "window") for _ in range(200))
        return sum(not run.passes for run in runs) / 200

    assert most_by_chance(4) == 0
    assert most_by_chance(1000) == 6
    assert refused(1000, 0.0) < 0.1
    assert refused(4, 0.0) < 0.1
    assert refused(1000, 1.0) > 0.9
    moved = changed(finding, "window", -100.0)
    assert len(
        compare(before, replace(before, findings=(moved, *before.findings[1:])), "window", "window").certainly_worse
    )


def test_a_missing_figure_fails(stored: Path) -> None:
    before = read_result(stored / "lab.json")
    without = replace(before, findings=before.findings[1:])
    compared = compare(before, without, "window", "window")
    assert not compared.passes
    assert len(compared.missing) == 2
    assert any(line.startswith("missing: contrast-kept/disc-1mm, 200 photons, white") for line in said_of(compared))


def test_other_images_and_methods_are_not_compared(stored: Path) -> None:
    before = read_result(stored / "lab.json")
    with pytest.raises(DataError, match="has other images"):
        compare(before, replace(before, images=()), "window", "window")
    with pytest.raises(DataError, match="has another protocol"):
        compare(before, replace(before, protocol=replace(before.protocol, version=2)), "window", "window")
    with pytest.raises(DataError, match="no figures of original"):
        compare(before, before, "original", "window")


def test_the_guarded_studies_exist() -> None:
    assert set(GUARDED) <= set(STUDIES)


@pytest.mark.parametrize("end", ["value", "low", "high"])
def test_a_figure_that_is_no_longer_finite_fails(stored: Path, end: str) -> None:
    before = read_result(stored / "lab.json")
    lost, *others = (each for each in before.findings if each.study in GUARDED and each.higher_is_better is not None)

    def unknown(y: Estimate) -> Estimate:
        return replace(y, **{end: math.nan})

    series = tuple(replace(each, y=tuple(map(unknown, each.y))) for each in lost.series)
    after = replace(before, findings=(replace(lost, series=series), *others))
    compared = compare(before, after, "window", "window")
    assert not compared.passes
    assert all(place.startswith(lost.key) for place in compared.missing)
    assert compare(after, after, "window", "window").passes, "a figure that was never finite is not a loss"
