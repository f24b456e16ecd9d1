"""The records of a worker, while another process holds the output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr_infer.errors import UsageError
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.opening import open_storage
from cxr_infer.storage.protocols import State, Storage
from cxr_infer.storage.record_files import LEDGER
from cxr_infer.storage.shard import Shard

MADE_BY, SOURCE = digest(b"model and settings"), digest(b"original")
THIS_RUN, OTHER_RUN = "ab", "cd"


@pytest.fixture(params=["directory", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "directory":
        yield Directory(tmp_path / "out")
        return
    files = pytest.importorskip("fsspec").filesystem("memory")
    yield open_storage("memory://out")
    files.rm("/", recursive=True)


def test_results_of_a_lost_worker_are_remade_now_and_kept_by_the_next_run(storage: Storage) -> None:
    target = storage.path("sub/a.png")
    with storage.output(MADE_BY, None) as output:
        with storage.worker_output(MADE_BY, None, THIS_RUN) as lost:
            lost.write("sub/a.png", target, SOURCE, b"result")
        with storage.worker_output(MADE_BY, None, THIS_RUN) as other:
            assert other.state("sub/a.png", target) is State.OUTDATED
        output.take_in(THIS_RUN)
    with storage.output(MADE_BY, None) as output:
        assert output.state("sub/a.png", target) is State.FINISHED
        assert output.made_of("sub/a.png", SOURCE)


def test_a_worker_uses_the_records_of_its_run(tmp_path: Path) -> None:
    storage = Directory(tmp_path)
    with storage.output(MADE_BY, None) as output:
        output.write("a.png", tmp_path / "a.png", SOURCE, b"result")
        with storage.worker_output(MADE_BY, None, THIS_RUN) as worker:
            assert worker.state("a.png", tmp_path / "a.png") is State.FOREIGN
            worker.learn("a.png", output.known("a.png"))
            assert worker.state("a.png", tmp_path / "a.png") is State.FINISHED
        output.take_in(THIS_RUN)
    assert [path.name for path in tmp_path.glob(".*")] == [LEDGER]


def test_records_of_a_killed_run_are_merged_by_the_next(tmp_path: Path) -> None:
    storage, shard = Directory(tmp_path), Shard(1, 1)
    with storage.worker_output(MADE_BY, shard, THIS_RUN) as worker:
        worker.write("a.png", tmp_path / "a.png", SOURCE, b"result")
        with pytest.raises(UsageError, match="another run is writing"), storage.output(MADE_BY, None):
            pass
    for later in (shard, None):
        with storage.output(MADE_BY, later) as output:
            assert output.state("a.png", tmp_path / "a.png") is State.FINISHED
    assert [path.name for path in tmp_path.glob(".*")] == [LEDGER]


def test_a_worker_keeps_the_partial_files_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for run in (THIS_RUN, OTHER_RUN):
        (tmp_path / "sub" / f".cxr-{run}-00.part").touch()
    with Directory(tmp_path).worker_output(MADE_BY, None, THIS_RUN) as worker:
        worker.write("sub/a.png", tmp_path / "sub" / "a.png", SOURCE, b"result")
    assert [path.name for path in tmp_path.rglob("*.part")] == [f".cxr-{THIS_RUN}-00.part"]
