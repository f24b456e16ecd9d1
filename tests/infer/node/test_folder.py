"""A watched folder: complete files only, moved or remembered only once they are in the spool."""

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
    """A watch at work, and what it told."""

    def __init__(self, spool: Spool, events: Events) -> None:
        self.spool, self.events = spool, events

    @property
    def count(self) -> int:
        return sum(care.counts(self.spool)["instances"].values())

    def told(self, event: str) -> int:
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


def test_what_lies_there_and_what_arrives_is_taken_once_and_stays(place: Path) -> None:
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
        until(lambda: watched.told("received") == 1, "the others are not even read again")
        assert watched.told("duplicate") == 0
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
        assert (done / "Doe^John" / "IM1").read_bytes() == FILE, "nothing is written over"
    assert not [path for path in (place / "in").rglob("*") if path.is_file()]


def test_nothing_is_moved_or_remembered_while_the_spool_has_no_room(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr_infer.node.folder.FULL_PAUSE", 0.1)
    with watching(place, move_to=str(place / "done"), limits=Limits(reserve_mb=1 << 40)) as watched:
        until(lambda: watched.told("full") > 1)
        assert (watched.count, watched.spool.query("SELECT * FROM folder_files")) == (0, [])
    assert (place / "in" / "Doe^John" / "IM1").read_bytes() == FILE
    with watching(place, move_to=str(place / "done")) as watched:
        until(lambda: (place / "done" / "Doe^John" / "IM1").exists())
        assert watched.uids == [UID]


def test_what_is_taken_but_cannot_be_moved_stays_and_is_not_sent_again(place: Path) -> None:
    (place / "done").touch()  # a file where the directory should be
    with watching(place, move_to=str(place / "done")) as watched:
        until(lambda: care.not_taken(watched.spool))
        (found,) = care.not_taken(watched.spool)
        assert "taken, but cannot be moved" in found["reason"]
        assert watched.told("received") == 1
    with watching(place, move_to=str(place / "done")) as watched:
        (place / "in" / "later.dcm").write_bytes(renamed(FILE, "1.2.1"))
        until(lambda: watched.told("received"))
        assert watched.told("duplicate") == 0


def test_what_is_no_dicom_is_named_to_the_operator_and_not_in_the_audit(place: Path) -> None:
    (place / "in" / "Doe^Jane.dcm").write_bytes(b"nothing of the kind")
    (place / "in" / "large.dcm").write_bytes(renamed(FILE, "1.2.9", PixelData=bytes(2 << 20)))
    (place / "in" / "notes.txt").write_text("not even looked at")
    with watching(place, instance_mb=1) as watched:
        until(lambda: len(care.not_taken(watched.spool)) == 2)
        until(lambda: watched.count == 1)
        found = {each["file"]: each["reason"] for each in care.not_taken(watched.spool)}
        assert "not a DICOM file with a header" in found["Doe^Jane.dcm"]
        assert "larger than instance_mb" in found["large.dcm"]
        until(lambda: watched.told("refused") == 2)
        (place / "in" / "Doe^Jane.dcm").write_bytes(renamed(FILE, "1.2.2"))  # mended
        until(lambda: watched.count == 2)
        until(lambda: [each["file"] for each in care.not_taken(watched.spool)] == ["large.dcm"])
    lines = [json.loads(line) for line in (place / "audit.jsonl").read_text().splitlines()]
    assert {line["way"] for line in lines} == {"folder"}
    assert "Doe" not in (place / "audit.jsonl").read_text()


def test_a_file_that_somebody_writes_is_not_taken(place: Path) -> None:
    with watching(place) as watched, (place / "in" / "slow.dcm").open("wb") as file:
        for start in range(0, len(FILE), 1000):
            file.write(renamed(FILE, "1.2.1")[start : start + 1000])
            file.flush()
        until(lambda: watched.count == 1)
        until(lambda: watched.told("received") == 1)
        file.close()
        until(lambda: watched.count == 2)


def test_a_name_that_is_no_utf8_keeps_nobody_waiting(place: Path) -> None:
    (place / "in" / os.fsdecode(b"D\xf6.dcm")).write_bytes(renamed(FILE, "1.2.1"))
    (place / "in" / os.fsdecode(b"D\xfc.dcm")).write_bytes(b"nothing of the kind")
    (place / "in" / "later.dcm").write_bytes(renamed(FILE, "1.2.2"))
    with watching(place) as watched:
        until(lambda: watched.uids == ["1.2.1", "1.2.2", UID])
        until(lambda: [os.fsencode(each["file"]) for each in care.not_taken(watched.spool)] == [b"D\xfc.dcm"])
        (place / "in" / os.fsdecode(b"D\xfc.dcm")).unlink()
        (place / "in" / "last.dcm").write_bytes(renamed(FILE, "1.2.3"))
        until(lambda: not care.not_taken(watched.spool))
        assert (watched.told("duplicate"), watched.told("put off")) == (0, 0)


def test_a_file_that_cannot_be_read_yet_is_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions and networks that are mended change no stamp."""
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
        time.sleep(0.5)  # several looks
        assert watched.told("refused") == 1, "told once"
        refused.set()
        until(lambda: watched.count == 1)
        until(lambda: not care.not_taken(watched.spool))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_what_is_no_file_or_leads_outside_is_named_and_never_read(place: Path) -> None:
    os.mkfifo(place / "in" / "pipe.dcm")
    (place / "outside.dcm").write_bytes(renamed(FILE, "1.2.1"))
    (place / "in" / "link.dcm").symlink_to(place / "outside.dcm")
    (place / "in" / "broken.dcm").symlink_to("nowhere")
    with watching(place) as watched:
        until(lambda: len(care.not_taken(watched.spool)) == 3)
        until(lambda: watched.count == 1)
        time.sleep(0.5)  # several looks
        assert watched.uids == [UID]
        assert {each["file"] for each in care.not_taken(watched.spool)} == {"pipe.dcm", "link.dcm", "broken.dcm"}
        assert watched.told("refused") == 3


def test_a_folder_that_is_gone_is_waited_for(place: Path) -> None:
    (place / "in").rename(place / "away")
    with watching(place) as watched:
        until(lambda: watched.told("put off") == 1)
        (place / "away").rename(place / "in")
        until(lambda: watched.uids == [UID])


def test_a_move_keeps_what_is_there(tmp_path: Path) -> None:
    for content in ("a", "b", "c"):
        (tmp_path / "x.dcm").write_text(content)
        move(tmp_path / "x.dcm", tmp_path / "done" / "x.dcm")
    found = {path.name: path.read_text() for path in (tmp_path / "done").iterdir()}
    assert found == {"x.dcm": "a", "x-1.dcm": "b", "x-2.dcm": "c"}


def test_half_a_copy_on_another_disk_that_is_full_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(source: Path, to: Path) -> None:
        to.write_bytes(source.read_bytes()[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.dcm").write_bytes(b"whole")
    monkeypatch.setattr("shutil.move", copied)
    with pytest.raises(OSError, match="No space"):
        move(tmp_path / "a.dcm", tmp_path / "done" / "a.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == b"whole"
    assert not list((tmp_path / "done").iterdir())
