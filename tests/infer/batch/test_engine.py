"""The contract of an engine, checked with a third implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cxr_infer
from cxr_infer import Engine, FileResult
from cxr_infer.batch.batch_run import BatchRun
from cxr_infer.batch.jobs import Plan
from cxr_infer.batch.pipeline import Show, denoise_jobs, not_begun
from cxr_infer.formats.readers import write_image
from cxr_infer.storage.protocols import Output
from tests.conftest import tree


class Backwards(Engine):
    """An engine that begins with the last image."""

    def __init__(self) -> None:
        self.entered = False

    def __enter__(self) -> Backwards:
        self.entered = True
        return self

    def results(
        self, plan: Plan, run: BatchRun, output: Output, stopped: Callable[[], bool], show: Show | None
    ) -> Iterator[FileResult]:
        jobs = list(plan.jobs())[::-1]
        begun = 0
        for result in denoise_jobs(jobs, run, plan.source, output, stopped):
            begun += 1
            yield result
        yield from (not_begun(job.name) for job in jobs[begun:])


def test_a_third_engine_gives_the_same_results(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    for index in range(3):
        write_image(tmp_path / "x" / f"{index}.png", noisy_bytes[index : index + 48, :48])
    (tmp_path / "x" / "bad.png").write_bytes(b"no image")
    expected = list(cxr_infer.denoise_directory(tmp_path / "x", tmp_path / "local"))
    with Backwards() as engine:
        assert engine.entered
        results = list(cxr_infer.denoise_directory(tmp_path / "x", tmp_path / "backwards", engine=engine))
    assert [r.name for r in results] == ["bad.png", "2.png", "1.png", "0.png"]
    assert {(r.name, r.status, r.mottle_after) for r in results} == {
        (r.name, r.status, r.mottle_after) for r in expected
    }
    assert tree(tmp_path / "backwards") == tree(tmp_path / "local")


def test_every_engine_stops_on_request(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    for index in range(4):
        write_image(tmp_path / "x" / f"{index}.png", noisy_bytes[:48, :48])
    for engine in (None, Backwards()):
        results = list(cxr_infer.denoise_directory(tmp_path / "x", stopped=lambda: True, engine=engine))
        assert sorted((r.name, r.status) for r in results) == [(f"{index}.png", "pending") for index in range(4)]
