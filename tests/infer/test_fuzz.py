"""Every decoder on mutated files, with CXR_FUZZ_SECONDS to do it longer; CI takes a minute."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("hypothesis")

SECONDS = float(os.environ.get("CXR_FUZZ_SECONDS", "8"))


@pytest.mark.slow
def test_no_mutated_file_gets_through_a_decoder_unseen() -> None:
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
