"""Every decoder on mutated files; CXR_FUZZ_SECONDS sets the duration, which is a minute in CI."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("hypothesis")

SECONDS = float(os.environ.get("CXR_FUZZ_SECONDS", "8"))


@pytest.mark.slow
def test_mutated_files_give_a_radiograph_or_a_project_error() -> None:
    seed = int(os.environ.get("CXR_FUZZ_SEED", "1"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.infer.fuzz", str(SECONDS), str(seed)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=10 * SECONDS + 120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout) >= 300
