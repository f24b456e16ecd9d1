"""Write all points as a table for statistics programs, one row per point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cxr_infer.lab.findings import Finding
from cxr_infer.lab.result import points
from cxr_infer.report.csv_file import csv_line

HEADINGS = (
    *("finding", "study", "title", "method", "condition"),
    *("x_name", "x_unit", "x", "y_name", "y_unit", "y", "low", "high", "draws", "seed"),
)


def csv_lines(findings: Sequence[Finding]) -> Iterator[bytes]:
    """Yield the headings, then a row for each point with its 95% interval. Figures have six digits."""
    yield csv_line(HEADINGS).encode()
    for finding, series, x, y in points(findings):
        about = (finding.key, finding.study, finding.title, series.method, series.condition)
        axes = (finding.x.name, finding.x.unit, x, finding.y.name, finding.y.unit)
        yield csv_line((*about, *axes, y.value, y.low, y.high, finding.draws_of(series), finding.seed)).encode()
