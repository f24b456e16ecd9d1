"""The spool: states, duplicates, quarantine, and consistency after a kill at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxr_infer.errors import UsageError
from cxr_infer.node import care
from cxr_infer.node.durable import held
from cxr_infer.node.records import Arrival, Delivery, QueuedInstance, Receipt
from cxr_infer.node.spool import Spool

HEAD = b"head"
TO_BOTH = [("original", "pacs"), ("derived", "pacs"), ("original", "research")]


def arrival(uid: str = "1.2.3") -> Arrival:
    return Arrival(uid, "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1", "CR1", "CXRINFER")


def begun(spool: Spool) -> QueuedInstance:
    work = spool.begin()
    assert work is not None
    return work


def ready(spool: Spool, uid: str = "1.2.3") -> list[Delivery]:
    """Add a denoised instance and return its deliveries to `pacs`."""
    spool.add(arrival(uid), (HEAD, uid.encode()))
    spool.denoised(begun(spool), (f"{uid}.1", b"result"), TO_BOTH, "")
    return spool.due("pacs", 10)


def files(spool: Spool) -> int:
    return len(list(spool.files.iterdir()))


def test_an_instance_passes_through_its_states_and_leaves_no_file(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        assert spool.add(arrival(), (HEAD, b"data")) is Receipt.NEW
        work = begun(spool)
        assert (work.uid, work.path.read_bytes(), work.attempts) == ("1.2.3", b"headdata", 1)
        spool.denoised(work, ("1.2.3.1", b"result"), TO_BOTH, "")
        assert spool.begin() is None
        original, derived = spool.due("pacs", 10)
        assert (original.uid, original.path.read_bytes()) == ("1.2.3", b"headdata")
        assert (derived.uid, derived.source, derived.path.read_bytes()) == ("1.2.3.1", "1.2.3", b"result")
        spool.sent([original, derived])
        assert files(spool) == 2, "another destination still lacks it"
        spool.sent(spool.due("research", 10))
        assert files(spool) == 0
        assert care.counts(spool)["instances"] == {"received": 0, "denoised": 0, "sent": 1, "failed": 0}


def test_a_duplicate_adds_no_job_but_other_content_of_its_uid_does(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        assert spool.add(arrival(), (HEAD, b"data")) is Receipt.NEW
        assert spool.add(arrival(), (HEAD, b"data")) is Receipt.DUPLICATE
        assert spool.add(arrival(), (HEAD, b"other")) is Receipt.NEW, "an acknowledged instance must not be lost"
        assert files(spool) == 2


def test_an_instance_sent_again_replaces_its_lost_file(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        (delivery, _) = ready(spool)
        parts = (HEAD, b"1.2.3")
        delivery.path.unlink()
        assert spool.add(arrival(), parts) is Receipt.DUPLICATE
        assert delivery.path.read_bytes() == b"head1.2.3"
        delivery.path.unlink()
        spool.refuse([delivery], "file missing from the spool")
        spool.sent([*spool.due("pacs", 10), *spool.due("research", 10)])
        assert care.counts(spool)["instances"]["failed"] == 1
        assert spool.add(arrival(), parts) is Receipt.AGAIN
        (again,) = spool.due("pacs", 10)
        assert again.path.read_bytes() == b"head1.2.3"


def test_sent_instances_are_remembered_for_a_while(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.sent([*ready(spool), *spool.due("research", 10)])
        assert spool.add(arrival(), (HEAD, b"1.2.3")) is Receipt.DUPLICATE
        care.expire(spool, remember=0, keep=0)
        assert spool.add(arrival(), (HEAD, b"1.2.3")) is Receipt.NEW


def test_nothing_unsent_is_ever_expired_swept_or_purged(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        ready(spool)
        spool.add(arrival("1.9"), (HEAD, b"new"))
        care.expire(spool, remember=-1e9, keep=-1e9)
        assert care.sweep(spool) == 0
        assert care.purge(spool, []) == 0
        with pytest.raises(UsageError, match=r"1\.9: is received"):
            care.purge(spool, ["1.9"])
        assert files(spool) == 3


def test_expiry_removes_only_instances_sent_to_every_destination(tmp_path: Path) -> None:
    """Others stay, however old: quarantined, sent to one of two destinations, or waiting for one that is down."""
    with Spool(tmp_path / "spool", keeps=True) as spool:
        spool.sent([*ready(spool, "1.1"), *spool.due("research", 10)])
        half = ready(spool, "1.2")
        spool.sent(half)
        failed = ready(spool, "1.3")
        spool.refuse(failed, "pacs: refused with status 0xC000")
        waiting = ready(spool, "1.4")
        spool.put_off_delivery(waiting[0], "pacs: it cannot be reached", 1e9)
        before = {path.name for path in spool.files.iterdir()}
        with spool.transaction() as db:
            db.execute("UPDATE instances SET received = 0, finished = CASE WHEN finished IS NULL THEN NULL ELSE 0 END")
        care.expire(spool, remember=1.0, keep=1.0)
        left = {path.name for path in spool.files.iterdir()}
        assert len(before - left) == 2, "original and result of the sent instance"
        assert left == before & left
        assert {uid for (uid,) in spool.query("SELECT uid FROM instances")} == {"1.2", "1.3", "1.4"}
    with Spool(tmp_path / "spool") as spool:  # after a restart with other limits
        assert care.sweep(spool) == 0
        assert [each.uid for each in spool.due("research", 10)] == ["1.2", "1.3", "1.4"]


def test_quarantined_files_are_kept_until_retried_or_purged(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        original, derived = ready(spool)
        spool.sent([original, *spool.due("research", 10)])
        spool.refuse([derived], "pacs: refused with status 0xC000")
        (problem,) = care.problems(spool)
        assert (problem["uid"], problem["state"], problem["destination"]) == ("1.2.3", "failed", "pacs")
        assert "0xC000" in problem["reason"]
        assert files(spool) == 2
        assert care.retry(spool, ["1.2.3"]) == 1
        assert [each.kind for each in spool.due("pacs", 10)] == ["derived"], "the sent original is not sent again"
        spool.refuse(spool.due("pacs", 10), "no")
        assert spool.add(arrival(), (HEAD, b"1.2.3")) is Receipt.AGAIN, "sending it again also ends the quarantine"
        spool.refuse(spool.due("pacs", 10), "no")
        assert care.purge(spool, ["1.2.3"]) == 1
        assert files(spool) == 0


def test_commitment_completes_a_delivery_and_its_refusal_resends(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        original, derived = ready(spool)
        spool.stored([original, derived], "2.25.1", 600)
        assert spool.due("pacs", 10) == spool.unconfirmed("pacs", 10) == []
        assert spool.report("2.25.2", {original.uid}, set()) == 0, "of another transaction"
        assert spool.report("2.25.1", {original.uid}, {derived.uid}) == 1
        assert [each.uid for each in spool.due("pacs", 10)] == [derived.uid]


def test_an_original_can_be_sent_before_its_result_exists(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.add(arrival(), (HEAD, b"data"), lambda path: [("original", "pacs")])
        spool.sent(spool.due("pacs", 10))
        assert files(spool) == 1, "its result does not exist yet"
        spool.denoised(begun(spool), ("1.2.3.1", b"result"), TO_BOTH[:2], "")
        assert [each.kind for each in spool.due("pacs", 10)] == ["derived"], "the original goes once"
        spool.sent(spool.due("pacs", 10))
        assert files(spool) == 0


def test_an_instance_without_result_is_done_once_its_original_is_sent(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.add(arrival(), (HEAD, b"data"), lambda path: [("original", "pacs")])
        spool.sent(spool.due("pacs", 10))
        spool.denoised(begun(spool), None, TO_BOTH[:1], "no X-ray")
        assert files(spool) == 0
        assert care.counts(spool)["instances"]["sent"] == 1


def test_a_postponed_instance_waits_while_others_proceed(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.add(arrival(), (HEAD, b"data"))
        spool.put_off(begun(spool), "the disk is full", 60)
        assert spool.begin() is None
        spool.add(arrival("1.9"), (HEAD, b"data"))
        assert begun(spool).uid == "1.9", "others proceed"


def test_a_spool_is_used_by_one_node_at_a_time(tmp_path: Path) -> None:
    with Spool(tmp_path), held(tmp_path, "node"), pytest.raises(UsageError, match="another node"):  # noqa: SIM117
        with held(tmp_path, "node"):
            pass


def test_a_file_cannot_be_used_as_a_spool(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be used as spool"):
        Spool(tmp_path / "file")


WRITER = """
import sys, pathlib
from cxr_infer.node.records import Arrival
from cxr_infer.node.spool import Spool
spool = Spool(pathlib.Path(sys.argv[1]))
for n in range(100000):
    uid = f"1.{sys.argv[2]}.{n}"
    spool.add(Arrival(uid, "c", "s"), (b"head", uid.encode() * 1000))
    print(uid, flush=True)
    if n % 2:
        work = spool.begin()
        spool.denoised(work, (work.uid + ".1", b"result" * 1000), [("original", "p"), ("derived", "p")], "")
"""


@pytest.mark.slow
def test_acknowledged_instances_survive_a_kill_at_any_moment(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    chance = random.Random(1)
    for attempt in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "spool"), str(attempt)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged.add(process.stdout.readline().strip())
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].splitlines(keepends=True)
        acknowledged |= {line.strip() for line in rest if line.endswith("\n")}
    with Spool(tmp_path / "spool") as spool:
        care.sweep(spool)
        rows = spool.query("SELECT uid, file, state FROM instances")
        assert acknowledged <= {uid for uid, *_ in rows}
        for uid, file, _ in rows:
            assert (spool.files / file).read_bytes() == b"head" + uid.encode() * 1000
        for each in spool.due("p", 100000):
            assert each.kind == "original" or each.path.read_bytes() == b"result" * 1000
        expected = {name for _, file, _ in rows for name in (file, file.replace(".dcm", ".derived.dcm"))}
        assert {path.name for path in spool.files.iterdir()} <= expected, "no leftover files"
