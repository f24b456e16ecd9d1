from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.listing import names
from benchmarks.scale import BANDWIDTH, LISTED, MANY_LARGE, Costs, Line, bound_by, costs_of, predicted, to_markdown

COSTS = Costs(image=0.4, overhead=0.01, driver=0.001, bytes=1e6, start=5.0)


def test_the_slowest_of_actors_network_and_driver_sets_the_time() -> None:
    for actors, machines, slowest, an_image in ((10, 1, "actors", 0.041), (1000, 64, "driver", 0.001)):
        assert bound_by(COSTS, actors, machines) == slowest
        expected = 1000 / LISTED + 5.0 + 1000 * an_image
        assert predicted(COSTS, 1000, actors, machines) == pytest.approx(expected)
    heavy = replace(COSTS, bytes=BANDWIDTH)
    assert bound_by(heavy, 1000, 1) == "network"
    assert predicted(heavy, 10, 1000, 1) == pytest.approx(10 / LISTED + 15.0)


def test_costs_are_derived_from_the_lines_and_shown_on_the_page() -> None:
    lines = {
        "small, local": Line(0.5, 0.008, 0.008),
        "large, local": Line(0.5, 0.4, 0.4),
        "small, 1 actors": Line(6.0, 0.01, 0.001),
        "large, 1 actors": Line(6.0, 0.41, 0.001),
        "small, 2 actors": Line(6.0, 0.005, 0.001),
        "large, 2 actors": Line(6.0, 0.21, 0.001),
    }
    costs = costs_of(lines, 5e5)
    assert costs == Costs(0.4, pytest.approx(0.002), 0.001, 1e6, 6.0)
    page = to_markdown(lines, costs)
    assert f"| 1 | {MANY_LARGE / LISTED + 6 + MANY_LARGE * 0.402:.1f} | {6 + MANY_LARGE * 0.41:.1f} |" in page
    assert "| 10,000,000 | 64 | 1023 |" in page


def test_half_of_the_names_are_in_one_directory() -> None:
    some = list(names(1000))
    assert len(set(some)) == 1000
    assert sum("/" not in name for name in some) == 500
    assert all(Path(name).suffix == ".png" for name in some)
