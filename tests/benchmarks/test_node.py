"""Latency, computed from the node's audit."""

from __future__ import annotations

import pytest

from benchmarks.node import latency

AUDIT = [
    {"time": "2026-11-28T10:00:00.500Z", "event": "received", "uid": "1.2"},
    {"time": "2026-11-28T10:00:00.900Z", "event": "sent", "uid": "1.2", "kind": "original", "milliseconds": 300.0},
    {"time": "2026-11-28T10:00:02.500Z", "event": "denoised", "uid": "1.2", "milliseconds": 1500.0},
    {"time": "2026-11-28T10:00:03.000Z", "event": "sent", "uid": "1.3", "source": "1.2", "milliseconds": 400.0},
]


def test_latency_ends_with_the_first_byte_of_the_result() -> None:
    assert latency(AUDIT, "1.2") == pytest.approx({"denoise": 1.5, "latency": 2.1})
