"""A watched folder: only complete files are taken, and moved or remembered only after they are in the spool."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cxr_infer.errors import ImageError
from cxr_infer.files import read_content
from cxr_infer.node import care
from cxr_infer.node.config import Config, Limits, Receive, WatchedFolder
from cxr_infer.node.events import Events
from cxr_infer.node.folder import FolderWatch, move
from cxr_infer.node.intake import Intake
from cxr_infer.node.phantoms import phantom_instance
from cxr_infer.node.spool import Spool
from tests.infer.node.archives import body, renamed, until

UID, FILE = phantom_instance(1, 64)


class Watched:
    """A running folder watch and the events it reported."""

    def __init__(self, spool: Spool, events: Events) -> None:
        self.spool, self.events = spool, events

    @property
    def count(self) -> int:
        return sum(care.counts(self.spool)["instances"].values())

    def count_of(self, event: str) -> int:
        return self.events.counters[event, ""]

    @property
    def uids(self) -> list[str]:
        return [uid for (uid,) in self.spool.query("SELECT uid FROM instances ORDER BY uid")]


@contextmanager
def watching(
    place: Path, *, move_to: str = "", limits: Limits | None = None, instance_mb: int = 512
) -> Iterator[Watched]:
    """Watch place/in with the spool place/spool."""
    folder = WatchedFolder(str(place / "in"), move_to)
    config = Config(receive=Receive(folder=folder, instance_mb=instance_mb), limits=limits or Limits(reserve_mb=0))
    events = Events(place / "audit.jsonl")
    with Spool(place / "spool") as spool:
        watch = FolderWatch(folder, Intake(config, spool, events, lambda: None, lambda: ()), spool, events)
        watch.start()
        try:
            yield Watched(spool, events)
        finally:
            watch.stop()
            watch.join(60)
            events.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("cxr_infer.node.folder.LOOK_EVERY", 0.1)
    (tmp_path / "in" / "Doe^John").mkdir(parents=True)
    (tmp_path / "in" / "Doe^John" / "IM1").write_bytes(FILE)
    return tmp_path


def test_present_and_arriving_files_are_processed_once_and_left_in_place(place: Path) -> None:
    with watching(place) as watched:
        until(lambda: watched.count == 1)
        (file,) = watched.spool.files.iterdir()
        assert body(file.read_bytes()) == body(FILE)
        (place / "in" / "later.dcm").write_bytes(renamed(FILE, "1.2.1"))
        until(lambda: watched.uids == ["1.2.1", UID])
        until(lambda: len(watched.spool.query("SELECT * FROM folder_files")) == 2)
    with watching(place) as watched:  # after a restart
        (place / "in" / "third.dcm").write_bytes(renamed(FILE, "1.2.3"))
        until(lambda: watched.count == 3)
        until(lambda: watched.count_of("received") == 1, "the others are not read again")
        assert watched.count_of("duplicate") == 0
        (place / "in" / "later.dcm").unlink()
        (place / "in" / "fourth.dcm").write_bytes(renamed(FILE, "1.2.4"))
        until(lambda: {name for (name,) in watched.spool.query("SELECT name FROM folder_files")} == {
            "Doe^John/IM1", "third.dcm", "fourth.dcm"
        })  # fmt: skip
    assert (place / "in" / "Doe^John" / "IM1").read_bytes() == FILE


def test_a_file_is_moved_once_it_is_in_the_spool(place: Path) -> None:
    done = place / "done"
    with watching(place, move_to=str(done)) as watched:
        until(lambda: (done / "Doe^John" / "IM1").exists())
        assert watched.uids == [UID]
        assert (done / "Doe^John" / "IM1").read_bytes() == FILE
        (place / "in" / "Doe^John" / "IM1").write_bytes(renamed(FILE, "1.2.1"))
        until(lambda: len(list((done / "Doe^John").iterdir())) == 2)
        assert (done / "Doe^John" / "IM1").read_bytes() == FILE, "nothing is overwritten"
    assert not [path for path in (place / "in").rglob("*") if path.is_file()]


def test_nothing_is_moved_or_remembered_while_the_spool_has_no_room(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr_infer.node.folder.FULL_PAUSE", 0.1)
    with watching(place, move_to=str(place / "done"), limits=Limits(reserve_mb=1 << 40)) as watched:
        until(lambda: watched.count_of("full") > 1)
        assert (watched.count, watched.spool.query("SELECT * FROM folder_files")) == (0, [])
    assert (place / "in" / "Doe^John" / "IM1").read_bytes() == FILE
    with watching(place, move_to=str(place / "done")) as watched:
        until(lambda: (place / "done" / "Doe^John" / "IM1").exists())
        assert watched.uids == [UID]


def test_a_processed_file_that_cannot_be_moved_is_not_sent_again(place: Path) -> None:
    (place / "done").touch()  # a file where the directory should be
    with watching(place, move_to=str(place / "done")) as watched:
        until(lambda: care.not_taken(watched.spool))
        (found,) = care.not_taken(watched.spool)
        assert "taken, but cannot be moved" in found["reason"]
        assert watched.count_of("received") == 1
    with watching(place, move_to=str(place / "done")) as watched:
        (place / "in" / "later.dcm").write_bytes(renamed(FILE, "1.2.1"))
        until(lambda: watched.count_of("received"))
        assert watched.count_of("duplicate") == 0


def test_non_dicom_files_are_named_to_the_operator_but_not_in_the_audit(place: Path) -> None:
    (place / "in" / "Doe^Jane.dcm").write_bytes(b"nothing of the kind")
    (place / "in" / "large.dcm").write_bytes(renamed(FILE, "1.2.9", PixelData=bytes(2 << 20)))
    (place / "in" / "notes.txt").write_text("not even looked at")
    with watching(place, instance_mb=1) as watched:
        until(lambda: len(care.not_taken(watched.spool)) == 2)
        until(lambda: watched.count == 1)
        found = {each["file"]: each["reason"] for each in care.not_taken(watched.spool)}
        assert "not a DICOM file with a header" in found["Doe^Jane.dcm"]
        assert "larger than instance_mb" in found["large.dcm"]
        until(lambda: watched.count_of("refused") == 2)
        (place / "in" / "Doe^Jane.dcm").write_bytes(renamed(FILE, "1.2.2"))  # repaired
        until(lambda: watched.count == 2)
        until(lambda: [each["file"] for each in care.not_taken(watched.spool)] == ["large.dcm"])
    lines = [json.loads(line) for line in (place / "audit.jsonl").read_text().splitlines()]
    assert {line["way"] for line in lines} == {"folder"}
    assert "Doe" not in (place / "audit.jsonl").read_text()


def test_a_file_is_not_processed_while_it_is_being_written(place: Path) -> None:
    with watching(place) as watched, (place / "in" / "slow.dcm").open("wb") as file:
        for start in range(0, len(FILE), 1000):
            file.write(renamed(FILE, "1.2.1")[start : start + 1000])
            file.flush()
        until(lambda: watched.count == 1)
        until(lambda: watched.count_of("received") == 1)
        file.close()
        until(lambda: watched.count == 2)


def test_a_non_utf8_name_does_not_block_other_files(place: Path) -> None:
    (place / "in" / os.fsdecode(b"D\xf6.dcm")).write_bytes(renamed(FILE, "1.2.1"))
    (place / "in" / os.fsdecode(b"D\xfc.dcm")).write_bytes(b"nothing of the kind")
    (place / "in" / "later.dcm").write_bytes(renamed(FILE, "1.2.2"))
    with watching(place) as watched:
        until(lambda: watched.uids == ["1.2.1", "1.2.2", UID])
        until(lambda: [os.fsencode(each["file"]) for each in care.not_taken(watched.spool)] == [b"D\xfc.dcm"])
        (place / "in" / os.fsdecode(b"D\xfc.dcm")).unlink()
        (place / "in" / "last.dcm").write_bytes(renamed(FILE, "1.2.3"))
        until(lambda: not care.not_taken(watched.spool))
        assert (watched.count_of("duplicate"), watched.count_of("put off")) == (0, 0)


def test_an_unreadable_file_is_retried_until_it_can_be_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repaired permissions and networks do not change a file's timestamp."""
    refused = threading.Event()

    def read(path: Path, *arguments: Any) -> bytes:
        if not refused.is_set():
            raise ImageError(f"{path}: cannot be read: Permission denied") from PermissionError(13, "Permission denied")
        return read_content(path, *arguments)

    monkeypatch.setattr("cxr_infer.node.folder.read_content", read)
    with watching(place) as watched:
        until(lambda: care.not_taken(watched.spool))
        assert care.not_taken(watched.spool) == [
            {"file": "Doe^John/IM1", "reason": "cannot be read: Permission denied"}
        ]
        time.sleep(0.5)  # several scans of the folder
        assert watched.count_of("refused") == 1, "reported once"
        refused.set()
        until(lambda: watched.count == 1)
        until(lambda: not care.not_taken(watched.spool))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_special_files_and_outward_links_are_named_and_never_read(place: Path) -> None:
    os.mkfifo(place / "in" / "pipe.dcm")
    (place / "outside.dcm").write_bytes(renamed(FILE, "1.2.1"))
    (place / "in" / "link.dcm").symlink_to(place / "outside.dcm")
    (place / "in" / "broken.dcm").symlink_to("nowhere")
    with watching(place) as watched:
        until(lambda: len(care.not_taken(watched.spool)) == 3)
        until(lambda: watched.count == 1)
        time.sleep(0.5)  # several scans of the folder
        assert watched.uids == [UID]
        assert {each["file"] for each in care.not_taken(watched.spool)} == {"pipe.dcm", "link.dcm", "broken.dcm"}
        assert watched.count_of("refused") == 3


def test_watching_resumes_when_a_missing_folder_returns(place: Path) -> None:
    (place / "in").rename(place / "away")
    with watching(place) as watched:
        until(lambda: watched.count_of("put off") == 1)
        (place / "away").rename(place / "in")
        until(lambda: watched.uids == [UID])


def test_a_move_never_overwrites_an_existing_file(tmp_path: Path) -> None:
    for content in ("a", "b", "c"):
        (tmp_path / "x.dcm").write_text(content)
        move(tmp_path / "x.dcm", tmp_path / "done" / "x.dcm")
    found = {path.name: path.read_text() for path in (tmp_path / "done").iterdir()}
    assert found == {"x.dcm": "a", "x-1.dcm": "b", "x-2.dcm": "c"}


def test_a_partial_copy_on_a_full_disk_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(source: Path, to: Path) -> None:
        to.write_bytes(source.read_bytes()[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.dcm").write_bytes(b"whole")
    monkeypatch.setattr("shutil.move", copied)
    with pytest.raises(OSError, match="No space"):
        move(tmp_path / "a.dcm", tmp_path / "done" / "a.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == b"whole"
    assert not list((tmp_path / "done").iterdir())
