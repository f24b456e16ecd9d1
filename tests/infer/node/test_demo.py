"""The demonstration: one command, with nothing but the extra."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Run


@pytest.mark.slow
def test_the_demonstration_shows_the_way_of_every_instance(run: Run) -> None:
    done = run("cxr-infer", "node", "demo", "--json")
    assert done.returncode == 0, done.stderr
    ways = json.loads(done.stdout)
    assert len(ways) == len({way["uid"] for way in ways}) == 4
    for way in ways:
        assert 0 < way["acknowledged"] < way["derived"]
        assert way["original"] > 0
        assert way["derived_uid"] != way["uid"]
