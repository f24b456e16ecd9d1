"""Fixtures shared by all tests: seeded phantoms, training data, and the commands as processes."""

from __future__ import annotations

import os

# one thread per process: models and images are so small that several threads mostly wait for each other
os.environ["OMP_NUM_THREADS"] = "1"

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import from_unit, to_bytes
from cxr_infer.storage.record_files import LEDGER
from tests.warm import POSSIBLE, WarmCommand

REPOSITORY = Path(__file__).resolve().parent.parent

# `cxr-infer` as a process, for tests that need more control than the fixture `run` gives
COMMAND = (sys.executable, "-c", "from cxr_infer.cli.commands import main; main()")

# fixtures that take so long that every test with one is slow: stores and clusters, long runs, traced networks
SLOW_FIXTURES = frozenset(
    {"s3", "whole", "cluster", "client", "killed_actors", "exports", "traced", "exported", "tortured"}
)

SECONDS = 240  # limit for a command


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key not in ("FORCE_COLOR", "NO_COLOR")} | {
        "COLUMNS": "160"
    }


ENVIRONMENT = _plain(os.environ)  # of commands, unless a test changes it

PATIENTS = 10  # in the data directory, with two images each

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Exempt imports and collected tests from garbage collection: they are never freed, scanning them takes time."""
    gc.collect()
    gc.freeze()


def tree(folder: Path, *, ledger: bool = False) -> dict[str, bytes]:
    """Return the content of every file by its relative name, including hidden ones, the ledger only on request."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and (ledger or p.name != LEDGER))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="session")
def clean() -> NDArray[np.float32]:
    """A clean phantom, (256, 256) float32 in [0, 1]."""
    return render_phantom(5, 256)


@pytest.fixture(scope="session")
def noisy(clean: NDArray[np.float32]) -> NDArray[np.float32]:
    """The clean phantom with saturating mottle of 71 photons at white."""
    return np.minimum(poisson_mottle(clean, 71.0, np.random.default_rng(3)), 1)


@pytest.fixture(scope="session")
def noisy_bytes(noisy: NDArray[np.float32]) -> NDArray[np.integer]:
    return from_unit(noisy, np.dtype(np.uint8))


@pytest.fixture(scope="session")
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training data: clean phantoms with file names as in the NIH release."""
    folder = tmp_path_factory.mktemp("data")
    base = to_bytes(render_phantom(1, 128))
    for patient in range(PATIENTS):
        for visit in range(2):
            image = np.roll(base, 3 * patient + visit, axis=1)
            write_image(folder / f"images_{visit:03}" / f"{patient:08}_{visit:03}.png", image)
    return folder


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmCommand | None]:
    """A source of `cxr-infer` processes that have imported their modules; None if the system cannot provide it."""
    if not POSSIBLE:
        yield None
        return
    with closing(WarmCommand(ENVIRONMENT)) as command:
        yield command


@pytest.fixture
def run(tmp_path: Path, warm: WarmCommand | None) -> Run:
    """Run one of the project's commands as a process in an empty directory: run("cxr-infer", "dir", path).

    With a changed environment, the process starts from scratch; otherwise it is forked after its imports.
    """

    def call(command: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        module = {"cxr-infer": "cxr_infer.__main__", "cxr-train": "cxr_train.cli", "cxr-export": "cxr_export.cli"}[
            command
        ]
        texts, of_its_own = [*map(str, arguments)], _plain(os.environ) | environment
        if warm is not None and command == "cxr-infer" and warm.fits(of_its_own):
            return warm.run(texts, tmp_path, of_its_own, SECONDS)
        return subprocess.run(
            [sys.executable, "-c", f"from {module} import main; main()", *texts],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=of_its_own,
        )

    return call
