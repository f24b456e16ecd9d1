"""Sample X-rays, as drawn by the guide's first command, but smaller."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxr_infer.batch.sample import write_samples
from tests.conftest import REPOSITORY

SIZE = 96  # px

RunPython = Callable[[str], "subprocess.CompletedProcess[str]"]


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page of the repository."""
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of `cxr-infer sample xrays`."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder / "xrays", size=SIZE)
    return folder


@pytest.fixture
def run_python(samples: Path) -> RunPython:
    """Return a function that runs a program in the folder of the samples, with the commands of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def call(program: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", program]
        environment = {**os.environ, "PATH": path}
        return subprocess.run(command, cwd=samples, env=environment, capture_output=True, text=True, timeout=240)

    return call
