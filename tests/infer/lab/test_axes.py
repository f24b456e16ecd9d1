from __future__ import annotations

import math

import pytest

from cxr_infer.lab.axes import AxisScale, scale_of, shown_number
from cxr_infer.lab.findings import Axis


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-1.5, "−1.5"),  # noqa: RUF001
        (0.98765, "0.988"),
        (123456.0, "123000"),
        (0.00012345, "1.23e−04"),  # noqa: RUF001
        (0.0123, "0.0123"),
        (9.9999, "10"),
        (math.nan, "–"),  # noqa: RUF001
        (math.inf, "–"),  # noqa: RUF001
        (None, "–"),  # noqa: RUF001
    ],
)
def test_figures_have_three_significant_digits(value: float | None, shown: str) -> None:
    assert shown_number(value) == shown


@pytest.mark.parametrize("axis", [Axis("a"), Axis("a", logarithmic=True)], ids=["linear", "logarithmic"])
@pytest.mark.parametrize("values", [(20.0, 800.0), (1.0, 1.0), (0.003, 0.0031), (1e-7, 1e6), ()])
def test_an_axis_holds_its_values_and_has_round_ticks(axis: Axis, values: tuple[float, ...]) -> None:
    scale = scale_of(axis, (*values, math.nan, math.inf))
    assert all(0 < scale.share(value) < 1 for value in values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 16
    assert all(0 <= scale.share(tick) <= 1 for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_a_logarithmic_axis_leaves_out_values_of_zero_or_less() -> None:
    scale = scale_of(Axis("a", logarithmic=True), (-1.0, 0.0, 10.0, 1000.0))
    assert scale.low > 1
    assert not scale.shows(0.0)
    assert AxisScale(0, 1, False).shows(-1.0)
    assert scale.share(100.0) == pytest.approx(0.5)
