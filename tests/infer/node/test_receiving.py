"""C-STORE input: an acknowledgement means stored on disk; strangers, floods and full disks get none."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.sop_class import CTImageStorage

from cxr_infer.node import care
from cxr_infer.node.config import Config, Limits, Node, Receive, Tls
from cxr_infer.node.events import Events
from cxr_infer.node.intake import Intake
from cxr_infer.node.phantoms import phantom_instance
from cxr_infer.node.receiving import Receiver
from cxr_infer.node.spool import Spool
from tests.infer.node.archives import HOST, RunningInput, associate, body, opened, renamed, send, until

# pynetdicom's sender leaves the sockets of failed connections to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

UID, FILE = phantom_instance(1, 64)
OUT_OF_RESOURCES = 0xA700

Receiving = Callable[..., Any]


@contextmanager
def receiving(
    folder: Path, node: Node | None = None, limits: Limits | None = None, **receive: Any
) -> Iterator[RunningInput]:
    config = Config(
        replace(node or Node(), spool=str(folder)), Receive(port=0, **receive), limits or Limits(reserve_mb=0)
    )
    events = Events(None)
    with Spool(folder) as spool:
        receiver = Receiver(config, spool, events, Intake(config, spool, events, lambda: None, lambda: ()))
        receiver.start()
        try:
            yield RunningInput(receiver.port, spool, events)
        finally:
            receiver.stop(5)
            events.close()


def test_acknowledged_instances_are_stored_byte_for_byte(tmp_path: Path) -> None:
    with receiving(tmp_path) as scp:
        assert send(scp.port, [FILE]) == [0]
        work = scp.spool.begin()
        assert work is not None
        assert (work.uid, work.calling, work.called) == (UID, "MODALITY", "CXRINFER")
        assert body(work.path.read_bytes()) == body(FILE)
        assert send(scp.port, [FILE]) == [0]
        assert (scp.count_of("received"), scp.count_of("duplicate"), scp.count) == (1, 1, 1)


def test_echo_is_answered(tmp_path: Path) -> None:
    with receiving(tmp_path) as scp:
        association = associate(scp.port)
        assert association.send_c_echo().Status == 0
        association.release()


@pytest.mark.parametrize(("allowed", "who"), [
    ({"calling": ("CR1",)}, {"calling": "STRANGER"}),
    ({"called": ("CXRINFER", "CHEST")}, {"called": "OTHER"}),
])  # fmt: skip
def test_an_ae_title_not_on_the_list_gets_no_association(
    tmp_path: Path, allowed: dict[str, Any], who: dict[str, str]
) -> None:
    with receiving(tmp_path, **allowed) as scp:
        assert send(scp.port, [FILE], **who) == [None]
        until(lambda: scp.count_of("stranger"))
        assert scp.count == 0
        right = {key: values[-1] for key, values in allowed.items()}
        assert send(scp.port, [FILE], **right) == [0]


def test_an_address_not_on_the_list_gets_no_response(tmp_path: Path) -> None:
    with receiving(tmp_path, addresses=("192.0.2.0/24",)) as scp:
        assert send(scp.port, [FILE]) == [None]
        assert scp.count_of("stranger") == 1
    with receiving(tmp_path, addresses=("127.0.0.0/8",)) as scp:
        assert send(scp.port, [FILE]) == [0]


def test_excess_associations_are_rejected_until_others_are_released(tmp_path: Path) -> None:
    with receiving(tmp_path, associations=2) as scp:
        held = [associate(scp.port) for _ in range(2)]
        assert all(each.is_established for each in held)
        assert associate(scp.port).is_rejected
        for each in held:
            each.release()
        until(lambda: send(scp.port, [FILE]) == [0])


@pytest.mark.slow
def test_silent_connections_do_not_block_other_senders(tmp_path: Path) -> None:
    with receiving(tmp_path, associations=2, timeout=3) as scp:
        silent = [socket.create_connection((HOST, scp.port)) for _ in range(20)]
        until(lambda: scp.count_of("refused"))
        until(lambda: send(scp.port, [FILE]) == [0], "the silent connections were never closed", 20)
        for each in silent:
            each.close()


def pdu(kind: int, length: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBL", kind, 0, length) + content


@pytest.mark.slow
@pytest.mark.parametrize("header", [pdu(1, 0xFFFFFFFF), pdu(1, 1 << 20), pdu(4, 1 << 30)])
def test_an_oversized_pdu_ends_the_connection_before_it_is_read(tmp_path: Path, header: bytes) -> None:
    with receiving(tmp_path, max_pdu=16384) as scp, socket.create_connection((HOST, scp.port)) as peer:
        peer.settimeout(20)
        peer.sendall(header + b"x" * 1000)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while block := peer.recv(4096):
                answer += block
        assert answer[:1] in (b"", b"\x07"), "closed or aborted"
        assert scp.count_of("refused") == 1
        assert send(scp.port, [FILE]) == [0]


def test_a_pdu_above_the_negotiated_length_is_refused(tmp_path: Path) -> None:
    with receiving(tmp_path, max_pdu=16384) as scp:
        association = associate(scp.port, [FILE])
        association.dul.socket.socket.sendall(pdu(4, 16385))
        until(lambda: scp.count_of("refused"))
        until(lambda: association.is_aborted)
        assert send(scp.port, [FILE]) == [0]


def test_an_oversized_instance_is_refused_while_it_arrives(tmp_path: Path) -> None:
    with receiving(tmp_path, instance_mb=1) as scp:
        large = renamed(FILE, "1.2.9", PixelData=bytes(2 << 20))
        assert send(scp.port, [large]) == [None]
        assert (scp.count_of("refused"), scp.count) == (1, 0)
        assert send(scp.port, [FILE]) == [0]


def test_a_sender_that_aborts_midway_leaves_nothing(tmp_path: Path) -> None:
    with receiving(tmp_path) as scp:
        association = associate(scp.port, [FILE])
        connection = association.dul.socket.socket
        context = next(c for c in association.accepted_contexts if c.abstract_syntax.endswith("1.1.1"))
        command = bytes.fromhex("00000000040000003800000000000200") + b""
        fragment = struct.pack(">LBB", len(command) + 2, context.context_id, 1) + command
        connection.sendall(pdu(4, len(fragment) + 100, fragment))
        association.abort()
        until(lambda: send(scp.port, [FILE]) == [0])
        assert scp.count == len(list(scp.spool.files.iterdir())) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # from the sender's library
@pytest.mark.parametrize("uid", ["1.2.Doe^John", "../../etc/passwd"])
def test_an_invalid_uid_is_refused_and_not_logged(tmp_path: Path, uid: str, caplog: pytest.LogCaptureFixture) -> None:
    dataset = opened(FILE)
    dataset.SOPInstanceUID = uid
    with receiving(tmp_path) as scp:
        association = associate(scp.port, [FILE])
        assert association.send_c_store(dataset).Status == 0x0117
        association.release()
        assert (scp.count_of("refused"), scp.count) == (1, 0)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("cxr_infer")]
    assert not any("Doe" in line or "passwd" in line for line in ours)


def test_other_classes_are_not_negotiated_if_none_are_passed_on(tmp_path: Path) -> None:
    content = renamed(FILE, "1.2.1", CTImageStorage)
    with receiving(tmp_path / "a", Node(pass_="none")) as scp:
        association = associate(scp.port, [content])
        assert not association.accepted_contexts
        association.abort()
    with receiving(tmp_path / "b", Node(pass_="other")) as scp:
        assert send(scp.port, [content]) == [0]


def test_lack_of_space_is_reported_and_nothing_is_left(tmp_path: Path) -> None:
    with receiving(tmp_path, limits=Limits(reserve_mb=1 << 40)) as scp:
        assert send(scp.port, [FILE]) == [OUT_OF_RESOURCES]
        assert (scp.count_of("full"), scp.count, list(scp.spool.files.iterdir())) == (1, 0, [])


def test_a_spool_full_of_unsent_instances_accepts_no_more(tmp_path: Path) -> None:
    with receiving(tmp_path, limits=Limits(reserve_mb=0, spool_gb=2e-5)) as scp:  # 20 kB
        assert send(scp.port, [FILE, renamed(FILE, "1.2.1"), renamed(FILE, "1.2.2")]) == [
            0, 0, OUT_OF_RESOURCES,
        ]  # fmt: skip
        care.expire(scp.spool, remember=0, keep=0)
        assert (scp.count, len(list(scp.spool.files.iterdir()))) == (2, 2), "none of them is removed for others"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.name == "posix" and os.geteuid() == 0
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place]).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_fills_up_loses_no_acknowledged_instance(small_disk: Path) -> None:
    large = phantom_instance(1, 300)[1]
    files = {f"1.2.{number}": renamed(large, f"1.2.{number}") for number in range(14)}
    with receiving(small_disk / "spool") as scp:
        statuses = send(scp.port, list(files.values()))
    assert statuses[0] == 0
    assert statuses[-1] == OUT_OF_RESOURCES
    assert set(statuses) == {0, OUT_OF_RESOURCES}
    with Spool(small_disk / "spool") as spool:
        care.sweep(spool)
        acknowledged = [uid for uid, status in zip(files, statuses, strict=True) if status == 0]
        rows = dict(spool.query("SELECT uid, file FROM instances"))
        assert sorted(rows) == sorted(acknowledged)
        for uid, file in rows.items():
            assert body((spool.files / file).read_bytes()) == body(files[uid])
        assert len(list(spool.files.iterdir())) == len(rows)


def certificate(folder: Path, name: str, signer: str = "") -> tuple[str, str]:
    """Make a certificate for loopback, self-signed or signed by another; return the paths of certificate and key."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    by = ["-CA", folder / f"{signer}.pem", "-CAkey", folder / f"{signer}.key"] if signer else []
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert]
    named = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{HOST}"]
    done = subprocess.run([*map(str, [*new, *named, *by])], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no openssl that can sign")
    return str(cert), str(key)


@pytest.mark.parametrize("client", ["right", "wrong", "none", "plain"])
def test_tls_accepts_only_known_certificates(tmp_path: Path, client: str) -> None:
    ca, _ = certificate(tmp_path, "ca")
    ours, key = certificate(tmp_path, "node", "ca")
    certificate(tmp_path, "evil")
    context = ssl.create_default_context(cafile=ca)
    if client in ("right", "wrong"):
        context.load_cert_chain(*certificate(tmp_path, client, "ca" if client == "right" else "evil"))
    with receiving(tmp_path / "spool", tls=Tls(ca, ours, key), timeout=5) as scp:
        with socket.create_connection((HOST, scp.port)):  # a missing handshake blocks nobody
            found = send(scp.port, [FILE], **({} if client == "plain" else {"tls_args": (context, HOST)}))
        assert found == [0 if client == "right" else None]
        if client != "right":
            until(lambda: scp.count_of("stranger") or scp.count_of("refused"))
        assert scp.count == (client == "right")


def memory() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_thousands_of_instances_leak_neither_memory_nor_handles(tmp_path: Path) -> None:
    def handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    dataset = opened(FILE)
    with receiving(tmp_path) as scp:
        send(scp.port, [FILE])
        before, end, count = handles(), time.monotonic() + 20, 0
        used = memory()
        while count < 2000 and time.monotonic() < end:
            association = associate(scp.port, [FILE])
            for _ in range(100):
                dataset.SOPInstanceUID = f"1.2.{count}"
                assert association.send_c_store(dataset).Status == 0
                count += 1
            association.release()
        until(lambda: handles() <= before + 2)
        assert memory() < used + 50e6, "including the sender"
        assert scp.count == count + 1
