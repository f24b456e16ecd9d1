from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from cxr_infer.batch.jobs import make_plan
from cxr_infer.errors import UsageError
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.disk_list import IN_MEMORY, DiskList, in_order

NAMES = ["b\nb", "é", os.fsdecode(b"caf\xe9"), "", *map(str, range(100_000))]


def test_a_list_on_disk_gives_back_what_it_got_from_any_number_of_readers() -> None:
    listed = DiskList(NAMES)
    assert sum(map(len, NAMES)) + len(NAMES) * 3 > IN_MEMORY // 2
    assert len(listed) == len(NAMES)
    first, second = iter(listed), iter(listed)
    assert [next(first), next(second), next(first)] == [NAMES[0], NAMES[0], NAMES[1]]
    assert list(listed) == NAMES
    assert list(second) == NAMES[1:]
    assert not DiskList[str]()
    assert list(DiskList([("name", "reason")])) == [["name", "reason"]]


@pytest.mark.parametrize("run", [1, 7, 50, 1000])
def test_names_are_sorted_as_python_sorts_them(run: int) -> None:
    names = random.Random(3).sample(NAMES, 50)
    assert list(in_order(names, run)) == sorted(names)


def test_no_room_for_a_list_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxr_infer.storage.disk_list.IN_MEMORY", 1)
    monkeypatch.setattr("tempfile.tempdir", "/no/such/place")
    with pytest.raises(UsageError, match=r"a list cannot be kept: .*; set TMPDIR"):
        DiskList(["a", "b"])


def test_the_tree_is_listed_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory's files, then its subdirectories, whatever the disk says first and however few fit in memory."""
    expected = ["B.png", "a.png", "a/1.png", "a/b/1.png", "a/c.png/1.png", "b/1.png"]
    for name in reversed(expected):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).touch()
    monkeypatch.setattr("cxr_infer.storage.directory.in_order", lambda names: in_order(names, 1))
    plan = make_plan(Directory(tmp_path / "x"), Directory(tmp_path / "out"))
    assert list(plan.names) == expected
    assert [job.name for job in plan.jobs()] == expected
    assert [name for name, _ in plan.problems] == ["a/c.png"]
