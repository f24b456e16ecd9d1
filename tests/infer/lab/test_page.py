"""The page describes and shows everything that was measured, loads nothing, and escapes names."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from cxr_infer.lab.chart import LOOKS, looks_of, panels
from cxr_infer.lab.findings import Axis, Estimate, Finding, NamedMap, Series
from cxr_infer.lab.maps import NO_CHANGE, largest, map_figures, to_picture
from cxr_infer.lab.page import page
from cxr_infer.lab.protocol_files import protocol_hash
from cxr_infer.lab.result import LabResult, points
from cxr_infer.model.card import RESEARCH_USE
from cxr_infer.report.html.markup import text

VOID = {"meta", "img"}


class Checked(HTMLParser):
    """Fails on badly nested tags; collects links, inline styles and handlers, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.styled = 0
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.loaded += [str(given[name]) for name in ("src", "href") if name in given]
        self.styled += "style" in given or any(name.startswith("on") for name in given)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def read(content: str) -> Checked:
    checked = Checked()
    checked.feed(content)
    checked.close()
    assert checked.open == []
    return checked


def test_the_page_is_well_formed_and_loads_nothing(result: LabResult) -> None:
    content = page(result)
    checked = read(content)
    assert checked.styled == 0, "the policy would block inline styles and handlers"
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in checked.loaded)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', content)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "<script" not in content
    assert "://" not in content


def test_every_figure_is_described(result: LabResult) -> None:
    words = " ".join(read(page(result)).words.split())
    for finding in result.findings:
        for text_given in (finding.title, finding.measured, finding.on, finding.caution, finding.source):
            assert text_given in words
    assert words.count("Caution:") == len(result.findings)
    assert words.count(RESEARCH_USE) == 2
    assert protocol_hash(result.protocol) in words
    assert "Protocol tiny, version 3, seed 7." in words
    assert "exact" in words, "n of a figure without draws"


def test_markup_in_names_is_escaped(result: LabResult) -> None:
    content = page(result)
    assert "Levels &amp; &lt;things&gt;" in content
    assert "<things>" not in content
    assert 'id="levels"' in content


def test_every_point_is_drawn_and_listed(result: LabResult) -> None:
    error, levels = result.findings
    (drawn,) = [svg for _, svg in panels(error, looks_of(result.findings))]
    assert drawn.count("<polyline") == 2
    assert drawn.count('class="interval"') == 4
    assert drawn.count("<title>") == 4
    ((_, exact),) = panels(levels, looks_of(result.findings))
    assert 'class="interval"' not in exact
    assert exact.count("<title>") == 2, "one point per method, because the other has no value"
    words = read(page(result)).words
    for finding in (error, levels):
        for _, _, _, y in points([finding]):
            assert np.isnan(y.value) or f"{y.value:.3g}" in words


def curve(method: str, condition: str, count: int = 2) -> Series:
    x = tuple(float(place) for place in range(1, count + 1))
    return Series(method, condition, x, tuple(Estimate(v, v - 0.1, v + 0.1) for v in x))


def drawn_of(*series: Series, logarithmic: bool = False) -> list[tuple[str, str]]:
    axis = Axis("x", logarithmic=logarithmic)
    finding = Finding("a/b", "a", "T", axis, Axis("y"), series, "m", "o", "c", 2, 1)
    return list(panels(finding, looks_of([finding])))


def test_each_condition_has_a_panel_on_the_same_axes() -> None:
    (one, left), (other, right) = drawn_of(curve("a", "white"), curve("a", "canon", 3), curve("b", "white"))
    assert (one, other) == ("white", "canon")
    assert left.count("<polyline") == 2
    assert right.count("<polyline") == 1
    ticks = [re.findall(r'text-anchor="end">([^<]*)<', svg) for svg in (left, right)]
    assert ticks[0] == ticks[1]


def test_points_that_cannot_be_drawn_are_left_out() -> None:
    wide = Series("a", "", (0.0, 10.0, 100.0), (Estimate(1, 1, 1), Estimate(2, float("-inf"), 3), Estimate(3, 3, 3)))
    ((_, svg),) = drawn_of(wide, logarithmic=True)
    assert svg.count("<title>") == 2
    assert "nan" not in svg
    assert "inf" not in svg.replace("interval", "")
    assert "<polyline" not in drawn_of(Series("a", "", (1.0,), (Estimate.exact(1),)))[0][1]
    assert "<svg" in drawn_of(Series("a", "", (), ()))[0][1]


def test_a_long_curve_has_a_band() -> None:
    ((_, svg),) = drawn_of(curve("a", "", 200))
    assert svg.count('class="band"') == 1
    assert "<title>" not in svg


def test_methods_keep_their_looks() -> None:
    findings = [
        Finding("a/a", "a", "T", Axis("x"), Axis("y"), (curve(m, ""),), "m", "o", "c", 2, 1) for m in "abcdefghij"
    ]
    looks = looks_of(findings)
    assert [looks[m] for m in "abcdefghij"] == [*range(LOOKS), 0, 1]
    assert [looks_of(findings, "c", "a")[m] for m in "cabd"] == [0, 1, 2, 3]


@pytest.mark.parametrize("scale", [1.0, 0.001])
def test_a_map_has_mid_gray_at_zero(scale: float) -> None:
    values = np.zeros((20, 30), np.float32)
    values[:, 10:20], values[:, 20:] = scale, -scale
    most = largest([NamedMap("a", "", values), NamedMap("b", "", values / 2)])
    assert most == pytest.approx(scale)
    picture = to_picture(values, most)
    assert picture[0, 0] == NO_CHANGE
    assert (picture[0, 10], picture[0, 20]) == (255, 1)
    assert largest([NamedMap("a", "", np.zeros((4, 4), np.float32))]) == 1.0
    assert to_picture(np.abs(values), most, signed=False)[0, ::10].tolist() == [0, 255, 255]


def test_maps_of_one_condition_share_a_gray_scale() -> None:
    ramp = np.linspace(-1, 1, 100, dtype=np.float32).reshape(10, 10)
    maps = [NamedMap("a", "bias", ramp), NamedMap("b", "bias", 10 * ramp), NamedMap("a", "spread", np.abs(ramp))]
    first, second, third = map_figures(maps).split("</figure>\n")[:3]
    assert "Mid-gray is 0, white +10, black −10 gray levels" in first  # noqa: RUF001
    assert "Mid-gray is 0, white +10" in second
    assert "Black is 0, white 1 gray levels" in third


def test_the_methods_text_names_changes_and_the_command(result: LabResult) -> None:
    changed = replace(result, changed=("methods: noisy, window",))
    words = " ".join(read(page(changed)).words.split())
    assert "changed on the command line (methods: noisy, window)" in words
    assert text(" ".join(result.command)) in page(result)
