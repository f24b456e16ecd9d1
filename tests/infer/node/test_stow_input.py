"""STOW-RS in: 200 means that it is on disk; strangers, floods and what is no DICOM are refused, and told nobody."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian

from cxr_infer.errors import UsageError
from cxr_infer.node.config import Config, Destination, Limits, Node, Receive, Stow, Tls
from cxr_infer.node.events import Events
from cxr_infer.node.intake import Intake
from cxr_infer.node.outcome import Fate
from cxr_infer.node.phantoms import phantom_instance
from cxr_infer.node.records import Delivery
from cxr_infer.node.spool import Spool
from cxr_infer.node.stow import post
from cxr_infer.node.stow_server import StowServer
from tests.infer.node.archives import HOST, WayIn, body, opened, renamed, until
from tests.infer.node.test_receiving import certificate, memory

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

UID, FILE = phantom_instance(1, 64)
STUDY = str(opened(FILE).StudyInstanceUID)
BOUNDARY = "a b'()+_,-./:=?x"  # all that RFC 2046 allows
KIND = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
FAILED, REFERENCED, OTHER, REASON, INSTANCE = "00081198", "00081199", "0008119A", "00081197", "00081155"


@contextmanager
def listening(
    folder: Path, stow: Stow | None = None, node: Node | None = None, limits: Limits | None = None, **receive: Any
) -> Iterator[WayIn]:
    stow = stow or Stow(port=0)
    config = Config(node or Node(), Receive(stow=stow, **receive), limits or Limits(reserve_mb=0))
    events = Events(None)
    with Spool(folder) as spool:
        intake = Intake(config, spool, events, lambda: None, lambda: ())
        server = StowServer(config.receive, stow, intake, events.tell)
        server.start()
        try:
            yield WayIn(server.server_port, spool, events)
        finally:
            server.stop(5)


def multipart(files: Sequence[bytes], kind: str = "application/dicom") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + content + b"\r\n" for content in files) + f"--{BOUNDARY}--\r\n".encode()


def asked(
    web: WayIn, content: Any, path: str = "/dicom-web/studies", kind: str = KIND, method: str = "POST", **headers: str
) -> tuple[int, dict[str, Any]]:
    """Status and answer."""
    connection = http.client.HTTPConnection(HOST, web.port, timeout=60)
    try:
        connection.request(method, path, content, {"Content-Type": kind, **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def uids(answer: dict[str, Any], sequence: str) -> list[str]:
    return [item[INSTANCE]["Value"][0] for item in answer.get(sequence, {"Value": []})["Value"]]


def reasons(answer: dict[str, Any], sequence: str = FAILED) -> list[int]:
    return [item[REASON]["Value"][0] for item in answer[sequence]["Value"]]


def test_what_is_acknowledged_lies_in_the_spool_byte_for_byte(tmp_path: Path) -> None:
    files = [renamed(FILE, f"1.2.{number}") for number in range(3)]
    with listening(tmp_path) as web:
        status, answer = asked(web, multipart(files))
        assert (status, uids(answer, REFERENCED)) == (200, ["1.2.0", "1.2.1", "1.2.2"])
        assert FAILED not in answer
        assert answer["00081190"] == {"vr": "UR"}, "nothing can be retrieved here"
        rows = dict(web.spool.query("SELECT uid, file FROM instances"))
        for content in files:
            uid = str(opened(content).SOPInstanceUID)
            assert body((web.spool.files / rows[uid]).read_bytes()) == body(content)
        assert asked(web, multipart(files[:1]))[0] == 200
        assert (web.told("received"), web.told("duplicate"), web.count) == (3, 1, 3)


def test_what_the_node_sends_by_it_it_also_takes(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(FILE)
    with listening(tmp_path / "spool") as web:
        url = f"http://{HOST}:{web.port}/dicom-web/studies"
        delivery = Delivery(1, UID, UID, "", "original", "web", 0, 0.0, path)
        assert post(Destination("web", url=url), delivery).fate is Fate.ACKNOWLEDGED
        assert web.count == 1


def test_chunks_are_joined_wherever_they_are_cut(tmp_path: Path) -> None:
    content = multipart([FILE, renamed(FILE, "1.2.1")])
    for step in (1009, 65537):
        blocks = [content[at : at + step] for at in range(0, len(content), step)]
        with listening(tmp_path / str(step)) as web:
            status, answer = asked(web, iter(blocks))
            assert (status, uids(answer, REFERENCED)) == (200, [UID, "1.2.1"])


def test_one_that_is_refused_does_not_take_the_others_along(tmp_path: Path) -> None:
    ct = renamed(FILE, "1.2.9", CTImageStorage)
    with listening(tmp_path, node=Node(pass_="none")) as web:
        status, answer = asked(web, multipart([FILE, ct, b"no DICOM", FILE[:200]]))
        assert status == 202
        assert uids(answer, REFERENCED) == [UID]
        assert (uids(answer, FAILED), reasons(answer)) == (["1.2.9"], [0x0122])
        assert reasons(answer, OTHER) == [0xC000, 0xC000]
        assert (web.told("refused"), web.count) == (3, 1)


@pytest.mark.parametrize(("content", "reason"), [
    (b"no DICOM" * 100, 0xC000),
    (FILE[:140] + b"\xff\xff\xff\xff" + FILE[144:], 0xC000),
    (FILE[:140] + b"\x10\0\0\0" + FILE[144:], None),
    (FILE.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.2.1\0"), 0xC122),
])  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path: Path, content: bytes, reason: int | None) -> None:
    with listening(tmp_path) as web:
        status, answer = asked(web, multipart([content]))
        assert (status, web.count, list(web.spool.files.iterdir())) == (409, 0, [])
        (found,) = reasons(answer, FAILED if FAILED in answer else OTHER)
        assert found == (reason or found)


def test_a_study_in_the_address_must_be_that_of_the_instances(tmp_path: Path) -> None:
    with listening(tmp_path) as web:
        status, answer = asked(web, multipart([FILE]), "/dicom-web/studies/1.2.3")
        assert (status, reasons(answer), web.count) == (409, [0xA900], 0)
        assert asked(web, multipart([FILE]), f"/dicom-web/studies/{STUDY}")[0] == 200


def test_a_deflated_file_is_taken_without_being_inflated(tmp_path: Path) -> None:
    deflated = renamed(FILE, "1.2.4")
    dataset = opened(deflated)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "deflated.dcm"
    dataset.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    bomb = content[: 144 + dataset.file_meta.FileMetaInformationGroupLength] + b"no deflated data at all"
    with listening(tmp_path / "spool") as web:
        assert asked(web, multipart([content, bomb]))[0] == 200
        assert web.count == 2, "as by C-STORE: what it holds is looked at in the other process"


def test_the_other_loopback_can_be_listened_on(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening(tmp_path, Stow(address="::1", port=0)) as web:
        connection = http.client.HTTPConnection("::1", web.port, timeout=60)
        connection.request("POST", "/dicom-web/studies", multipart([FILE]), {"Content-Type": KIND})
        assert connection.getresponse().status == 200
        connection.close()


def test_only_the_token_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stow = Stow(port=0, token_env="NODE_TOKEN")
    monkeypatch.delenv("NODE_TOKEN", raising=False)
    with pytest.raises(UsageError, match="set the variable NODE_TOKEN"), listening(tmp_path, stow):
        pass
    monkeypatch.setenv("NODE_TOKEN", "secret")
    with listening(tmp_path, stow) as web:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            assert asked(web, multipart([FILE]), **wrong)[0] == 401
        assert (web.told("stranger"), web.count) == (3, 0)
        for scheme in ("Bearer", "bearer"):  # RFC 9110 11.1
            assert asked(web, multipart([FILE]), Authorization=f"{scheme} secret")[0] == 200
    assert "secret" not in caplog.text


def test_an_address_that_is_not_allowed_gets_no_word(tmp_path: Path) -> None:
    with listening(tmp_path, addresses=("192.0.2.0/24",)) as web:
        with pytest.raises((http.client.HTTPException, OSError)):
            asked(web, multipart([FILE]))
        assert (web.told("stranger"), web.count) == (1, 0)


def test_an_instance_that_is_too_large_is_refused_while_it_arrives(tmp_path: Path) -> None:
    large = renamed(FILE, "1.2.9", PixelData=bytes(3 << 20))
    with listening(tmp_path, instance_mb=1) as web:
        assert asked(web, multipart([large]))[0] == 413
        assert web.count == 0
        assert asked(web, multipart([FILE]))[0] == 200
    with listening(tmp_path / "b", memory_mb=1) as web:
        assert asked(web, multipart([large]))[0] == 503, "for all together: to be tried again"


def test_a_long_request_takes_the_memory_of_one_instance(tmp_path: Path) -> None:
    one = renamed(FILE, "1.2.9", PixelData=bytes(4 << 20))

    def blocks() -> Iterator[bytes]:
        for number in range(20):
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            yield head + one.replace(b"1.2.9\0", b"1.2.%d\0" % (number % 9)) + b"\r\n"
        yield f"--{BOUNDARY}--\r\n".encode()

    with listening(tmp_path) as web:
        used = memory()
        assert asked(web, blocks())[0] == 200
        assert memory() < used + 60e6, "of 84 MB"


def test_no_room_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    with listening(tmp_path, limits=Limits(reserve_mb=1 << 40)) as web:
        status, answer = asked(web, multipart([FILE]))
        assert (status, reasons(answer)) == (503, [0xA700])
        assert (web.told("full"), web.count, list(web.spool.files.iterdir())) == (1, 0, [])


def test_more_connections_than_allowed_are_refused_and_later_ones_taken(tmp_path: Path) -> None:
    with listening(tmp_path, associations=2, timeout=30) as web:
        silent = [socket.create_connection((HOST, web.port)) for _ in range(2)]
        with pytest.raises((http.client.HTTPException, OSError)):
            asked(web, multipart([FILE]))
        for each in silent:
            each.close()
        until(lambda: _status(web) == 200)


def _status(web: WayIn) -> int:
    try:
        return asked(web, multipart([FILE]))[0]
    except (http.client.HTTPException, OSError):
        return 0


def test_a_sender_that_goes_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    content = multipart([FILE])
    head = f"POST /dicom-web/studies HTTP/1.1\r\nContent-Type: {KIND}\r\nContent-Length: {len(content)}\r\n\r\n"
    with listening(tmp_path) as web:
        with socket.create_connection((HOST, web.port)) as peer:
            peer.sendall(head.encode() + content[:3000])
        until(lambda: web.told("refused"))
        assert (web.count, list(web.spool.files.iterdir())) == (0, [])


def test_a_body_is_asked_for_only_where_it_is_wanted(tmp_path: Path) -> None:
    content = multipart([FILE])
    for path, first in (("/dicom-web/studies", b"HTTP/1.1 100"), ("/elsewhere", b"HTTP/1.1 404")):
        head = f"POST {path} HTTP/1.1\r\nContent-Type: {KIND}\r\nContent-Length: {len(content)}\r\n"
        with listening(tmp_path) as web, socket.create_connection((HOST, web.port)) as peer:
            peer.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            assert peer.recv(12) == first


def test_nothing_of_a_patient_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with listening(tmp_path) as web:
        asked(web, multipart([FILE]), "/dicom-web/studies?PatientName=Phantom")
        asked(web, multipart([FILE, b"Phantom^Chest"]), "/Phantom^Chest")
        asked(web, multipart([FILE, b"Phantom^Chest"]))
    assert "Phantom" not in caplog.text


@pytest.mark.parametrize("client", ["right", "none"])
def test_tls_takes_only_certificates_that_it_knows(tmp_path: Path, client: str) -> None:
    ca, _ = certificate(tmp_path, "ca")
    stow = Stow(port=0, tls=Tls(ca, *certificate(tmp_path, "node", "ca")))
    context = ssl.create_default_context(cafile=ca)
    if client == "right":
        context.load_cert_chain(*certificate(tmp_path, client, "ca"))
    with listening(tmp_path / "spool", stow, timeout=5) as web, socket.create_connection((HOST, web.port)):
        connection = http.client.HTTPSConnection(HOST, web.port, timeout=60, context=context)
        try:
            connection.request("POST", "/dicom-web/studies", multipart([FILE]), {"Content-Type": KIND})
            assert (connection.getresponse().status, client) == (200, "right")
        except OSError:
            assert client == "none"
        finally:
            connection.close()
        until(lambda: web.count if client == "right" else web.told("stranger"))


def test_a_stop_waits_for_the_request_at_work(tmp_path: Path) -> None:
    content = multipart([FILE])
    head = f"POST /dicom-web/studies HTTP/1.1\r\nContent-Type: {KIND}\r\nContent-Length: {len(content)}\r\n"
    with listening(tmp_path) as web:
        peer = socket.create_connection((HOST, web.port))
        peer.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 100"), "it is at work"
        later = threading.Timer(0.5, peer.sendall, [content])
        later.start()
    later.join()
    with peer:
        assert peer.recv(12) == b"HTTP/1.1 200"


def test_without_its_package_the_way_out_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(f'[receive.stow]\nport = 0\n[[destination]]\nname = "a"\nhost = "{HOST}"\n')
    code = "import sys; sys.modules['python_multipart'] = None; from cxr_infer.__main__ import main; main()"
    command = [sys.executable, "-c", code, "node", "run", "--config", "node.toml", "--port", "0", "--http-port", "-1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "STOW-RS input needs more packages; run: pip install" in done.stderr
    assert "python-multipart" in done.stderr
