"""How the table, the JSON report and the page describe the noise of a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cxr_infer.cli.progress import progress_over
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import Mottle
from cxr_infer.imaging.noise_shape import Shape
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.report.columns import BY_KEY
from cxr_infer.report.html.markup import row
from cxr_infer.report.html.statistics import mean, statistics_of
from cxr_infer.report.noise_words import (
    FAINT,
    LEFT,
    NO_NOISE_FOUND,
    NOTES,
    TOO_SMALL,
    UNSURE,
    left_in,
    noise_figures,
    noise_note,
    why_left,
)
from cxr_infer.report.results import DONE, FileResult, Summary
from cxr_infer.report.terminal import ShownResults, print_results
from tests.conftest import Run
from tests.infer.imaging.noise import DETECTORS, exposed, stored


def mottle(gray_levels: float, *, correlation: float = 0.0, error: float = 0.1) -> Mottle:
    sd = gray_levels / 255
    return Mottle(
        gain=sd**2 / 0.5,
        offset=0.0,
        sd=sd,
        level=0.0,
        curve=((0.25, sd * 0.5**0.5), (0.5, sd), (0.75, sd * 1.5**0.5)),
        shape=Shape(0.05, 2.0, 2.0) if correlation else Shape(),
        correlation=(correlation, 0.0),
        relative_error=error,
        with_anatomy=sd,
    )


def result_of(before: Mottle, after: Mottle, strength: float = 1.0) -> FileResult:
    return FileResult("a.png", DONE, **noise_figures(before, after, strength))


@pytest.mark.parametrize(
    ("before", "after", "strength", "reason"),
    [
        (mottle(8), mottle(0.5), 1, None),
        (mottle(1.2), mottle(1.15), 1, FAINT),
        (mottle(6, correlation=0.9), mottle(5.8, correlation=0.9), 1, LEFT),
        (mottle(6, correlation=0.9), mottle(2, correlation=0.9), 1, None),
        (mottle(8, error=0.6), mottle(0.5), 1, UNSURE),
        (mottle(0), mottle(0), 1, None),
        (mottle(8), mottle(8), 0, None),
        (mottle(8), mottle(6.8), 0.5, None),
    ],
)
def test_the_reason_for_remaining_noise_is_given(
    before: Mottle, after: Mottle, strength: float, reason: str | None
) -> None:
    assert why_left(before, after, strength) == reason


def test_files_with_uninformative_figures_have_a_note() -> None:
    assert noise_note(mottle(8), None) == ""
    assert noise_note(mottle(1.2), FAINT) == NOTES[FAINT]
    assert noise_note(mottle(0), None) == NO_NOISE_FOUND
    assert noise_note(replace(mottle(0), known=False), None) == TOO_SMALL


def test_an_unsure_estimate_never_reports_added_noise() -> None:
    assert noise_figures(mottle(0), mottle(0.7, error=0.5), 1)["mottle_after"] == 0
    assert noise_figures(mottle(0.9), mottle(1.1, error=0.5), 1)["mottle_after"] == pytest.approx(0.9)
    assert noise_figures(mottle(2), mottle(3), 1)["mottle_after"] == pytest.approx(3), "a sure estimate is reported"


def test_removed_faint_noise_is_not_reported_as_remaining() -> None:
    """Values measured on a phantom with white noise of 0.8 gray levels, reduced to 0.46."""
    before = replace(mottle(0.86), with_anatomy=1.22 / 255)
    after = replace(mottle(0.44, error=0.5), with_anatomy=0.91 / 255)
    figures = noise_figures(before, after, 1)
    assert figures["mottle_left"] is None
    assert figures["mottle_after"] == pytest.approx(0.46, rel=0.15)
    untouched = replace(mottle(0.86, error=0.3), with_anatomy=1.22 / 255)
    assert noise_figures(before, untouched, 1)["mottle_left"] == FAINT


def test_the_summary_counts_the_files_with_remaining_noise(capsys: pytest.CaptureFixture[str]) -> None:
    assert left_in({}) == ""
    faint, unsure = result_of(mottle(1.2), mottle(1.15)), result_of(mottle(8, error=0.6), mottle(1))
    summary, shown = Summary(), ShownResults()
    for result in [result_of(mottle(8), mottle(1))] * 40 + [faint] * 3 + [unsure]:
        summary.add(result)
        shown.add(result)
    print_results(shown, summary, "title")
    output = capsys.readouterr().out
    sentence = (
        "most of the noise is left in 3 files: too faint for the model; noise could not be separated from structure in"
    )
    assert f"{sentence} 1 file\n" in output


def test_the_table_marks_remaining_and_unsure_noise() -> None:
    counted = result_of(mottle(8), mottle(0.5))
    assert cells(counted) == ("8.0 → 0.5", "510")
    faint = result_of(mottle(1.2), mottle(1.15))
    assert cells(faint)[0] == "1.2 stays"
    wide = result_of(mottle(6, correlation=0.9), mottle(6, correlation=0.9))
    assert cells(wide) == ("6.0 stays", "corr 0.90")
    unsure = result_of(mottle(8, error=0.6), mottle(1))
    assert cells(unsure) == ("about 8.0", "unsure")
    assert cells(FileResult("a", DONE)) == ("–", "–")  # noqa: RUF001


def cells(result: FileResult) -> tuple[str, ...]:
    return tuple(BY_KEY[key].on_terminal(result) for key in ("mottle_before", "photons_at_white"))


def test_the_page_marks_remaining_noise() -> None:
    counted, faint = (
        row(result_of(*pair), "", None, False) for pair in ((mottle(8), mottle(1)), (mottle(1), mottle(1)))
    )
    assert '<td data-value="7">7.0</td>' in counted
    assert "510" in counted
    assert '<td data-value="1">1.0</td><td data-value="1">1.0 stays</td><td data-value="0">0.0</td>' in faint
    assert faint.count("<td>–</td>") == 2, "size and milliseconds"  # noqa: RUF001


def test_unsure_estimates_are_marked_and_excluded_from_means() -> None:
    counted, unsure = result_of(mottle(8), mottle(1)), result_of(mottle(20, error=0.6), mottle(9, error=0.6))
    summary = Summary()
    for result in (counted, unsure):
        summary.add(result)
    means = summary.to_dict()["means"]
    assert (means["mottle_before"], means["mottle_after"]) == pytest.approx((8, 1))
    statistics = statistics_of([counted, unsure])
    before, after = (statistics.values[key] for key in ("mottle_before", "mottle_after"))
    assert (mean(before), mean(after), statistics.unsure) == pytest.approx((8, 1, 1))
    assert 'data-value="20">about 20.0<' in row(unsure, "", None, False)


def test_remaining_noise_is_included_in_every_mean() -> None:
    counted, faint = result_of(mottle(8), mottle(1)), result_of(mottle(1.2), mottle(1.2))
    summary = Summary()
    for result in (counted, faint):
        summary.add(result)
    statistics = statistics_of([counted, faint])
    assert (statistics.stays, statistics.unsure) == (1, 0)
    before, after, removed = (statistics.values[f"mottle_{name}"] for name in ("before", "after", "removed"))
    for name, values in (("mottle_before", before), ("mottle_after", after)):
        assert len(values) == 2
        assert mean(values) == pytest.approx(summary.mean(name)), "the same as on the terminal"
    assert mean(removed) == pytest.approx(mean(before) - mean(after))


def test_each_note_is_printed_once_also_among_others(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_over(4, "denoising", quiet=False) as advance:
        for message in ("", "dim; so look", "dim; so look; wide", "wide", "far; wide"):
            advance(FileResult("a.png", DONE, message))
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note")]
    assert notes == [f"note: a.png: {note} (shown once)" for note in ("dim; so look", "wide", "far")]


@pytest.mark.parametrize("width", [100, 80, 60])
def test_no_figure_is_cut_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    summary, shown = Summary(), ShownResults()
    result = replace(result_of(mottle(37.3), mottle(10.8)), name="phantom-1.png", width=3000, height=2500, bits=16)
    result = replace(result, psnr=34.12, ssim=0.9123, mse=0.00039, milliseconds=1234, megapixels_per_second=6.08)
    summary.add(result)
    shown.add(result)
    console = Console(force_terminal=True, color_system=None, width=width)
    monkeypatch.setattr("cxr_infer.report.terminal.stdout_console", lambda: console)
    print_results(shown, summary, "title")
    table = capsys.readouterr().out
    assert "\u2026" not in table
    assert all(whole in table for whole in ("37.3 → 10.8", "34.12", "0.9123"))
    assert max(map(len, table.splitlines())) <= width


def test_a_run_reports_the_kind_of_noise_of_every_file(run: Run, tmp_path: Path) -> None:
    chest = 0.15 + 0.7 * render_phantom(2, 384).astype(float)
    for name in ("white", "scintillator"):
        write_image(tmp_path / "x" / f"{name}.png", stored(exposed(chest, 8, DETECTORS[name])))
    write_image(tmp_path / "x" / "clean.png", stored(chest))
    done = run("cxr-infer", "dir", tmp_path / "x", "--json", tmp_path / "r.json", "--report", tmp_path / "r.html")
    files = {record["name"]: record for record in json.loads((tmp_path / "r.json").read_text())["files"]}
    assert files["white.png"]["mottle_kind"] == "white"
    assert files["white.png"]["mottle_before"] == pytest.approx(8, rel=0.12)
    assert files["scintillator.png"]["mottle_kind"].startswith("correlated over")
    assert max(abs(files["white.png"][f"correlation_{way}"]) for way in ("across", "down")) < 0.08
    assert min(files["scintillator.png"][f"correlation_{way}"] for way in ("across", "down")) > 0.15
    assert files["clean.png"]["mottle_left"] == UNSURE
    assert files["clean.png"]["message"] == NOTES[UNSURE]
    assert done.stderr.count(NOTES[UNSURE]) == 1
    assert "noise could not be separated from structure in 1 file" in done.stdout
    assert "correlated over" in (tmp_path / "r.html").read_text()


def test_an_image_too_small_to_measure_shows_no_noise_figures(run: Run, tmp_path: Path, identity_onnx: Path) -> None:
    (tmp_path / "x").mkdir()
    for height, width in ((7, 40), (40, 1)):
        pixels = np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)
        write_image(tmp_path / "x" / f"{height}.png", pixels)
    write_image(tmp_path / "x" / "flat.png", np.full((16, 16), 99, np.uint8))
    done = run("cxr-infer", "dir", "x", "--model", identity_onnx, "--json", "r.json", "--report", "r.html")
    assert done.returncode == 0, done.stderr
    files = {file["name"]: file for file in json.loads((tmp_path / "r.json").read_text())["files"]}
    assert (files["flat.png"]["mottle_kind"], files["flat.png"]["mottle_before"]) == ("none", 0)
    for name in ("7.png", "40.png"):
        assert files[name]["mottle_kind"] == "unknown"
        assert {files[name][key] for key in ("mottle_before", "mottle_after", "mottle_error")} == {None}
        assert TOO_SMALL in files[name]["message"]
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if ".png" in line}
    assert [name for name in files if "→" in rows[name]] == ["flat.png"]
