"""Sentences and tables read off a result agree with its figures, for a method and against it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cxr_infer.lab.comparison import BETTER, SAME, WORSE, verdict
from cxr_infer.lab.findings import Axis, Estimate, Finding, Series
from cxr_infer.lab.full_dose import dose_needed
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.reading import read_off, subject_of
from cxr_infer.lab.result import LabResult, UnderTest
from tests.infer.lab.protocols import PROTOCOL

NODULE = "nodule-5-+8"
DOSES = (50.0, 200.0)


def near(value: float, error: float = 0.1) -> Estimate:
    return Estimate(value, value - error, value + error)


def finding(key: str, *series: Series, study: str = "detectability", higher: bool = True) -> Finding:
    return Finding(key, study, f"{key}: it", Axis("dose"), Axis("y"), series, "m", "o", "c", 4, 7, "", higher)


def curves(key: str, before: tuple[float, ...], after: tuple[float, ...], *, higher: bool = True) -> Finding:
    """A figure against dose, of the noisy image and of window."""
    both = (("noisy", before), ("window", after))
    series = (Series(method, "white", DOSES, tuple(map(near, values))) for method, values in both)
    return finding(key, *series, higher=higher)


def result_of(*findings: Finding, methods: tuple[str, ...] = ("noisy", "window")) -> LabResult:
    tested = tuple(UnderTest(name, "ab" if name == "window" else "") for name in methods)
    return LabResult(replace(PROTOCOL, methods=methods), tested, (), findings)


WORTH = finding(f"dose-equivalence/{NODULE}", Series("window", "white", DOSES, (near(1.2), near(0.9))))
KEPT = replace(
    finding("contrast-kept/nodule-5mm", study="contrast-kept"),
    series=(Series("window", "200 photons, white", (4.0, 8.0, 16.0), (near(0.5), near(0.75, 0.05), near(0.9))),),
)


def test_each_task_is_reported_with_its_dose_and_the_contrast_left() -> None:
    known = curves(f"detectability/{NODULE}", (1.0, 2.0), (1.05, 1.95))
    search = curves(f"search/{NODULE}", (40.0, 80.0), (41.0, 82.0))
    reading = read_off(result_of(known, search, WORTH, KEPT))
    assert (
        "nodule, 5 mm, +8, white noise: after window at 200 photons it is as detectable as before at 180 (160 to "
        "200) photons; 75 (70 to 80) % of its contrast is left."
    ) in reading.sentences
    full, tasks = reading.tables[:2]
    assert full.title.endswith("as well as the noisy image at full dose (200 photons)")
    assert full.rows == [["nodule, 5 mm, +8", ">200"]]
    assert tasks.title == "After window at N photons, as detectable as before at M photons"
    assert [row[:3] for row in tasks.rows] == [
        ["nodule, 5 mm, +8; white", "50", "60 (55 to 65)"],
        ["nodule, 5 mm, +8; white", "200", "180 (160 to 200)"],
    ]
    row = dict(zip(tasks.headings, tasks.rows[1], strict=True))
    assert row["d' before"] == "2 (1.9 to 2.1)"
    assert row["d' after"] == "1.95 (1.85 to 2.05)"
    assert row["after, %"] == "82 (81.9 to 82.1)"
    assert row["contrast left, %"] == "75 (70 to 80)"
    assert tasks.rows[0][-1] == "–"  # noqa: RUF001
    assert reading.against == ()


@pytest.mark.parametrize(
    ("worth", "needed"),
    [
        ({50.0: near(1.0, 0.0), 200.0: near(1.0, 0.0)}, "200 (200 to 200)"),
        ({50.0: near(2.0, 0.0), 200.0: near(2.0, 0.0)}, "100 (100 to 100)"),  # worth twice the dose at every dose
        ({50.0: near(1.0, 0.2), 200.0: near(1.25, 0.5)}, "165 (129 to >200)"),
        ({50.0: near(1.0), 200.0: near(0.9)}, ">200"),
        ({50.0: near(5.0), 200.0: near(3.0)}, "<50"),
        ({50.0: near(1.0)}, ""),
    ],
)
def test_the_dose_needed_is_interpolated_between_measured_doses(worth: dict[float, Estimate], needed: str) -> None:
    assert dose_needed(worth, 200.0) == needed


def test_methods_are_listed_side_by_side_with_their_draws() -> None:
    both = (("window", 0.9), ("nlm", 0.8))
    series = (Series(method, "white", DOSES, (near(value), near(value))) for method, value in both)
    result = result_of(finding(f"detectability-kept/{NODULE}", *series), methods=("noisy", "window", "nlm"))
    slow = replace(result, protocol=replace(result.protocol, fewer_draws={"nlm": 2}))
    (table,) = (table for table in read_off(slow).tables if table.title.endswith("method by method"))
    assert table.headings == ("signal and noise", "N", "window", "nlm")
    assert table.rows[0] == ["nodule, 5 mm, +8; white", "50", "0.9 (0.8 to 1)", "0.8 (0.7 to 0.9)"]
    assert "n: 4 draws; nlm 2." in table.note
    sentences = [line for line in read_off(slow).sentences if line.startswith("Told the true noise")]
    assert sentences[0].endswith("and its spectrum: nlm; the others must estimate it from the image.")
    assert not any(line.startswith("Told") for line in read_off(result_of(WORTH)).sentences)
    alone = read_off(result_of(finding(f"detectability-kept/{NODULE}")))
    assert not any(table.title.endswith("method by method") for table in alone.tables)


def test_the_absence_of_a_gain_is_stated_plainly() -> None:
    (line,) = read_off(result_of(curves(f"detectability/{NODULE}", (1.0, 2.0), (1.0, 2.0)))).sentences
    assert line.startswith("window: no signal at a known place is more detectable after denoising (d' ")
    assert "better in 0 of 2 points" in line
    assert "it buys no dose" in line
    (line,) = read_off(result_of(curves(f"detectability/{NODULE}", (1.0, 2.0), (1.0, 3.0)))).sentences
    assert line == "window: d' at a known place is better in 1 of 2 points."


@pytest.mark.parametrize(
    ("key", "higher", "figure"),
    [
        (f"detectability/{NODULE}", True, "d' at a known place (1 of 2 points)"),
        (f"search/{NODULE}", True, "signals found in a search (1 of 2 points)"),
        ("lines/lost", False, "lines lost (1 of 2 points)"),
        ("lines/made-up", False, "false lines (1 of 2 points)"),
        ("bias/structure-from-noise", False, "structure made from pure noise (1 of 2 points)"),
    ],
)
def test_figures_worse_than_the_noisy_image_are_reported(key: str, higher: bool, figure: str) -> None:
    worse = (0.5, 2.0) if higher else (1.5, 2.0)
    (line,) = read_off(result_of(curves(key, (1.0, 2.0), worse, higher=higher))).against
    assert line == f"Against window: it is worse than the noisy image, beyond the uncertainty of both, in {figure}."
    assert read_off(result_of(curves(key, worse, (1.0, 2.0), higher=higher))).against == ()


def test_paired_comparisons_of_draws_take_precedence() -> None:
    unsure = curves(f"detectability/{NODULE}", (1.0, 2.0), (0.95, 1.95))
    kept = curves(f"detectability-kept/{NODULE}", (1.0, 1.0), (0.5, 0.7))
    reading = read_off(result_of(unsure, kept))
    (line,) = reading.against
    assert line.endswith(
        "worse than the noisy image, beyond the uncertainty of both, in d' at a known place (2 of 2 points)."
    )
    assert "better in 0 of 2 points" in reading.sentences[0]
    change = curves(f"search-change/{NODULE}", (0.0, 0.0), (-5.0, 5.0))
    (line,) = read_off(result_of(curves(f"search/{NODULE}", (50.0, 60.0), (40.0, 50.0)), change)).against
    assert line.endswith("signals found in a search (1 of 2 points).")


def test_points_are_counted_against_the_noisy_image() -> None:
    known = curves(f"detectability/{NODULE}", (1.0, 2.0), (0.5, 2.0))
    counted = read_off(result_of(known, KEPT)).tables[-1]
    assert counted.headings == ("measured", "window")
    assert counted.rows == [[f"detectability/{NODULE}", "0 / 1 / 1"]]


def test_costs_are_listed_before_and_after() -> None:
    lost = curves("lines/lost", (1.0, 0.5), (3.0, 2.0), higher=False)
    costs = next(table for table in read_off(result_of(lost)).tables if table.title == "What window costs")
    row = dict(zip(costs.headings, costs.rows[0], strict=True))
    assert row["noise and dose"] == "white, 50 photons"
    assert row["lines lost per megapixel, before"] == "1 (0.9 to 1.1)"
    assert row["lines lost per megapixel, after"] == "3 (2.9 to 3.1)"
    assert row["bias, RMS gray levels, after"] == "–"  # noqa: RUF001


def test_figures_of_repeated_exposures_are_listed_before_and_after() -> None:
    error = replace(
        curves("repeated/error", (4.0, 3.0), (2.0, 1.5), higher=False), study="repeated", title="True error"
    )
    table = next(each for each in read_off(result_of(error)).tables if each.title == "On the repeated exposures")
    assert table.headings == ("measured", "before", "after window")
    assert table.rows[0] == ["True error, dose 50", "4 (3.9 to 4.1)", "2 (1.9 to 2.1)"]
    assert len(table.rows) == 2


def test_dark_signals_are_reported_too() -> None:
    dark = replace(PROTOCOL, signals=(Signal("nodule", 5.0, -8.0),))
    kept = replace(KEPT, key="contrast-kept/nodule-5mm-dark")
    tables = read_off(replace(result_of(kept), protocol=dark)).tables
    assert tables[0].rows[0][0] == "nodule, 5 mm, −8; white"  # noqa: RUF001
    assert tables[0].rows[0][-1] == "75 (70 to 80)"


def test_the_result_is_about_its_first_model() -> None:
    assert subject_of(result_of(methods=("noisy", "nlm", "window"))) == "window"
    assert subject_of(result_of(methods=("noisy", "nlm"))) == "nlm"
    assert subject_of(result_of(methods=("noisy",))) == "noisy"
    assert read_off(result_of(methods=("noisy",))).tables == ()


def test_a_verdict_requires_disjoint_intervals() -> None:
    assert verdict(near(1.0), near(1.15), True) == SAME
    assert verdict(near(1.0), near(1.3), True) == BETTER
    assert verdict(near(1.0), near(1.3), False) == WORSE
    assert verdict(near(1.0), near(0.7), True) == WORSE
    assert verdict(near(1.0), near(0.7), False) == BETTER
    assert verdict(Estimate.exact(1.0), Estimate.exact(1.00001), False) == SAME, "rounding of another processor"
    assert verdict(Estimate.exact(1.0), Estimate.exact(1.01), False) == WORSE
    assert verdict(Estimate.exact(1.0), Estimate.exact(math.nan), True) == SAME
