"""The `node demo` command, which needs nothing but the extra."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Run


@pytest.mark.slow
def test_the_demo_reports_the_path_of_every_instance(run: Run) -> None:
    done = run("cxr-infer", "node", "demo", "--json")
    assert done.returncode == 0, done.stderr
    paths = json.loads(done.stdout)
    assert len(paths) == len({path["uid"] for path in paths}) == 4
    for path in paths:
        assert 0 < path["acknowledged"] < path["derived"]
        assert path["original"] > 0
        assert path["derived_uid"] != path["uid"]
