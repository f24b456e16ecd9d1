from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxr_infer.batch.jobs import make_plan
from cxr_infer.errors import UsageError
from cxr_infer.scratch import IN_MEMORY, DiskList, DiskStore, in_order
from cxr_infer.storage.claims import Claims
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.ledger import Entry, Records
from tests.full_disk import full_disk

NAMES = ["b\nb", "é", os.fsdecode(b"caf\xe9"), "", *map(str, range(100_000))]


def test_a_disk_list_returns_its_items_to_any_number_of_readers() -> None:
    listed = DiskList(NAMES)
    assert sum(map(len, NAMES)) + len(NAMES) * 3 > IN_MEMORY // 2
    assert len(listed) == len(NAMES)
    first, second = iter(listed), iter(listed)
    assert [next(first), next(second), next(first)] == [NAMES[0], NAMES[0], NAMES[1]]
    assert list(listed) == NAMES
    assert list(second) == NAMES[1:]
    assert not DiskList[str]()
    listed.append("last")
    assert list(second) == []
    assert list(listed)[-2:] == [NAMES[-1], "last"]
    assert list(DiskList([("name", "reason")])) == [["name", "reason"]]


@pytest.mark.parametrize("run", [1, 7, 50, 1000])
def test_names_are_sorted_as_python_sorts_them(run: int) -> None:
    names = random.Random(3).sample(NAMES, 50)
    assert list(in_order(names, run)) == sorted(names)


def fill_claims(claims: Claims) -> None:
    for name in NAMES:
        claims.claim(name, name)


def fill_records(records: Records) -> None:
    records.add(((name, Entry.of(b"", b"", name.encode("utf-8", "replace"))) for name in NAMES), own=True)


FILLED: list[tuple[Callable[[], object], str]] = [
    (lambda: DiskList(NAMES), "a list of files"),
    (lambda: next(in_order(NAMES, 10)), "a list of files"),
    (lambda: DiskStore("the report").add(bytes(2 * IN_MEMORY)), "the report"),
    (lambda: fill_claims(Claims()), "the list of results"),
    (lambda: fill_records(Records()), "the records of results"),
]


@pytest.mark.parametrize(("fill", "content"), FILLED, ids=["list", "order", "store", "claims", "records"])
def test_a_full_disk_is_reported_in_one_line(fill: Callable[[], object], content: str) -> None:
    with full_disk(), pytest.raises(UsageError, match=rf"^cannot store {content}: .*; set TMPDIR to a directory"):
        fill()


def test_temporary_files_are_unnamed_and_created_in_tmpdir(tmp_path: Path) -> None:
    """So that the process leaves nothing behind, however it ends, and no other user can open them."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("only Linux lists the open files of a process")
    code = f"""
from pathlib import Path
from cxr_infer.scratch import *
tables = DiskList([str(number) for number in range(100_000)]), DiskStore("contents")
tables[1].add(bytes({2 * IN_MEMORY}))
print([path.exists() for path in Path({str(tmp_path)!r}).iterdir()])
for file in Path("/proc/self/fd").iterdir():
    if file.is_symlink() and str(file.readlink()).startswith({str(tmp_path)!r}):
        print(oct(file.stat().st_mode & 0o777), file.stat().st_nlink)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "SQLITE_TMPDIR": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines() == ["[]", "0o600 0", "0o600 0"]


def test_the_space_of_dropped_contents_is_reused() -> None:
    store, rng = DiskStore("contents"), np.random.default_rng(0)
    contents: dict[int, bytes] = {}
    for _ in range(300):
        content = rng.bytes(int(rng.integers(100_000, 400_000)))
        contents[store.add(content)] = content
        if len(contents) > 10:
            gone = int(rng.choice(list(contents)))
            store.drop(gone)
            del contents[gone]
        assert store.size <= 12 * 400_000
    assert all(store.read(number) == content for number, content in contents.items())
    with pytest.raises(KeyError):
        store.read(max(contents) + 1)
    store.close()


def test_the_tree_is_listed_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files come before subdirectories, whatever the order on disk and however few names fit in memory."""
    expected = ["B.png", "a.png", "a/1.png", "a/b/1.png", "a/c.png/1.png", "b/1.png"]
    for name in reversed(expected):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).touch()
    monkeypatch.setattr("cxr_infer.storage.directory.in_order", lambda names: in_order(names, 1))
    plan = make_plan(Directory(tmp_path / "x"), Directory(tmp_path / "out"))
    assert list(plan.names) == expected
    assert [job.name for job in plan.jobs()] == expected
    assert [name for name, _ in plan.problems] == ["a/c.png"]
