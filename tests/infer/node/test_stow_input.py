"""STOW-RS input: 200 means stored on disk; strangers, floods and non-DICOM parts are refused and disclose nothing."""

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
from tests.infer.node.archives import HOST, RunningInput, body, opened, renamed, until
from tests.infer.node.test_receiving import certificate, memory

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

UID, FILE = phantom_instance(1, 64)
STUDY = str(opened(FILE).StudyInstanceUID)
BOUNDARY = "a b'()+_,-./:=?x"  # every kind of character that RFC 2046 allows
KIND = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
FAILED, REFERENCED, OTHER, REASON, INSTANCE = "00081198", "00081199", "0008119A", "00081197", "00081155"


@contextmanager
def listening(
    folder: Path, stow: Stow | None = None, node: Node | None = None, limits: Limits | None = None, **receive: Any
) -> Iterator[RunningInput]:
    stow = stow or Stow(port=0)
    config = Config(node or Node(), Receive(stow=stow, **receive), limits or Limits(reserve_mb=0))
    events = Events(None)
    with Spool(folder) as spool:
        intake = Intake(config, spool, events, lambda: None, lambda: ())
        server = StowServer(config.receive, stow, intake, events.tell)
        server.start()
        try:
            yield RunningInput(server.server_port, spool, events)
        finally:
            server.stop(5)


def multipart(files: Sequence[bytes], kind: str = "application/dicom") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + content + b"\r\n" for content in files) + f"--{BOUNDARY}--\r\n".encode()


def ask(
    web: RunningInput,
    content: Any,
    path: str = "/dicom-web/studies",
    kind: str = KIND,
    method: str = "POST",
    **headers: str,
) -> tuple[int, dict[str, Any]]:
    """Send a request and return status and answer."""
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


def test_acknowledged_instances_are_stored_byte_for_byte(tmp_path: Path) -> None:
    files = [renamed(FILE, f"1.2.{number}") for number in range(3)]
    with listening(tmp_path) as web:
        status, answer = ask(web, multipart(files))
        assert (status, uids(answer, REFERENCED)) == (200, ["1.2.0", "1.2.1", "1.2.2"])
        assert FAILED not in answer
        assert answer["00081190"] == {"vr": "UR"}, "no retrieval service"
        rows = dict(web.spool.query("SELECT uid, file FROM instances"))
        for content in files:
            uid = str(opened(content).SOPInstanceUID)
            assert body((web.spool.files / rows[uid]).read_bytes()) == body(content)
        assert ask(web, multipart(files[:1]))[0] == 200
        assert (web.count_of("received"), web.count_of("duplicate"), web.count) == (3, 1, 3)


def test_requests_of_the_nodes_own_stow_client_are_accepted(tmp_path: Path) -> None:
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
            status, answer = ask(web, iter(blocks))
            assert (status, uids(answer, REFERENCED)) == (200, [UID, "1.2.1"])


def test_a_refused_part_does_not_affect_the_others(tmp_path: Path) -> None:
    ct = renamed(FILE, "1.2.9", CTImageStorage)
    with listening(tmp_path, node=Node(pass_="none")) as web:
        status, answer = ask(web, multipart([FILE, ct, b"no DICOM", FILE[:200]]))
        assert status == 202
        assert uids(answer, REFERENCED) == [UID]
        assert (uids(answer, FAILED), reasons(answer)) == (["1.2.9"], [0x0122])
        assert reasons(answer, OTHER) == [0xC000, 0xC000]
        assert (web.count_of("refused"), web.count) == (3, 1)


@pytest.mark.parametrize(("content", "reason"), [
    (b"no DICOM" * 100, 0xC000),
    (FILE[:140] + b"\xff\xff\xff\xff" + FILE[144:], 0xC000),
    (FILE[:140] + b"\x10\0\0\0" + FILE[144:], None),
    (FILE.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.2.1\0"), 0xC122),
])  # fmt: skip
def test_an_inconsistent_header_is_refused(tmp_path: Path, content: bytes, reason: int | None) -> None:
    with listening(tmp_path) as web:
        status, answer = ask(web, multipart([content]))
        assert (status, web.count, list(web.spool.files.iterdir())) == (409, 0, [])
        (found,) = reasons(answer, FAILED if FAILED in answer else OTHER)
        assert found == (reason or found)


def test_the_study_in_the_url_must_match_the_instances(tmp_path: Path) -> None:
    with listening(tmp_path) as web:
        status, answer = ask(web, multipart([FILE]), "/dicom-web/studies/1.2.3")
        assert (status, reasons(answer), web.count) == (409, [0xA900], 0)
        assert ask(web, multipart([FILE]), f"/dicom-web/studies/{STUDY}")[0] == 200


def test_a_deflated_file_is_stored_without_being_inflated(tmp_path: Path) -> None:
    deflated = renamed(FILE, "1.2.4")
    dataset = opened(deflated)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "deflated.dcm"
    dataset.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    bomb = content[: 144 + dataset.file_meta.FileMetaInformationGroupLength] + b"no deflated data at all"
    with listening(tmp_path / "spool") as web:
        assert ask(web, multipart([content, bomb]))[0] == 200
        assert web.count == 2, "as with C-STORE: the denoising process examines the content"


def test_the_ipv6_loopback_address_is_supported(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening(tmp_path, Stow(address="::1", port=0)) as web:
        connection = http.client.HTTPConnection("::1", web.port, timeout=60)
        connection.request("POST", "/dicom-web/studies", multipart([FILE]), {"Content-Type": KIND})
        assert connection.getresponse().status == 200
        connection.close()


def test_requests_without_the_token_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stow = Stow(port=0, token_env="NODE_TOKEN")
    monkeypatch.delenv("NODE_TOKEN", raising=False)
    with pytest.raises(UsageError, match="set the variable NODE_TOKEN"), listening(tmp_path, stow):
        pass
    monkeypatch.setenv("NODE_TOKEN", "secret")
    with listening(tmp_path, stow) as web:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            assert ask(web, multipart([FILE]), **wrong)[0] == 401
        assert (web.count_of("stranger"), web.count) == (3, 0)
        for scheme in ("Bearer", "bearer"):  # RFC 9110 11.1
            assert ask(web, multipart([FILE]), Authorization=f"{scheme} secret")[0] == 200
    assert "secret" not in caplog.text


def test_an_address_not_on_the_list_gets_no_response(tmp_path: Path) -> None:
    with listening(tmp_path, addresses=("192.0.2.0/24",)) as web:
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(web, multipart([FILE]))
        assert (web.count_of("stranger"), web.count) == (1, 0)


def test_an_oversized_instance_is_refused_while_it_arrives(tmp_path: Path) -> None:
    large = renamed(FILE, "1.2.9", PixelData=bytes(3 << 20))
    with listening(tmp_path, instance_mb=1) as web:
        assert ask(web, multipart([large]))[0] == 413
        assert web.count == 0
        assert ask(web, multipart([FILE]))[0] == 200
    with listening(tmp_path / "b", memory_mb=1) as web:
        assert ask(web, multipart([large]))[0] == 503, "the limit of all requests together, so retryable"


def test_a_long_request_uses_the_memory_of_one_instance(tmp_path: Path) -> None:
    one = renamed(FILE, "1.2.9", PixelData=bytes(4 << 20))

    def blocks() -> Iterator[bytes]:
        for number in range(20):
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            yield head + one.replace(b"1.2.9\0", b"1.2.%d\0" % (number % 9)) + b"\r\n"
        yield f"--{BOUNDARY}--\r\n".encode()

    with listening(tmp_path) as web:
        used = memory()
        assert ask(web, blocks())[0] == 200
        assert memory() < used + 60e6, "the request has 84 MB"


def test_lack_of_space_is_reported_as_status_503(tmp_path: Path) -> None:
    with listening(tmp_path, limits=Limits(reserve_mb=1 << 40)) as web:
        status, answer = ask(web, multipart([FILE]))
        assert (status, reasons(answer)) == (503, [0xA700])
        assert (web.count_of("full"), web.count, list(web.spool.files.iterdir())) == (1, 0, [])


def test_excess_connections_are_refused_until_others_close(tmp_path: Path) -> None:
    with listening(tmp_path, associations=2, timeout=30) as web:
        silent = [socket.create_connection((HOST, web.port)) for _ in range(2)]
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(web, multipart([FILE]))
        for each in silent:
            each.close()
        until(lambda: _status(web) == 200)


def _status(web: RunningInput) -> int:
    try:
        return ask(web, multipart([FILE]))[0]
    except (http.client.HTTPException, OSError):
        return 0


def test_a_sender_that_disconnects_midway_leaves_nothing(tmp_path: Path) -> None:
    content = multipart([FILE])
    head = f"POST /dicom-web/studies HTTP/1.1\r\nContent-Type: {KIND}\r\nContent-Length: {len(content)}\r\n\r\n"
    with listening(tmp_path) as web:
        with socket.create_connection((HOST, web.port)) as peer:
            peer.sendall(head.encode() + content[:3000])
        until(lambda: web.count_of("refused"))
        assert (web.count, list(web.spool.files.iterdir())) == (0, [])


def test_100_continue_is_sent_only_for_acceptable_requests(tmp_path: Path) -> None:
    content = multipart([FILE])
    for path, first in (("/dicom-web/studies", b"HTTP/1.1 100"), ("/elsewhere", b"HTTP/1.1 404")):
        head = f"POST {path} HTTP/1.1\r\nContent-Type: {KIND}\r\nContent-Length: {len(content)}\r\n"
        with listening(tmp_path) as web, socket.create_connection((HOST, web.port)) as peer:
            peer.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            assert peer.recv(12) == first


def test_no_patient_data_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with listening(tmp_path) as web:
        ask(web, multipart([FILE]), "/dicom-web/studies?PatientName=Phantom")
        ask(web, multipart([FILE, b"Phantom^Chest"]), "/Phantom^Chest")
        ask(web, multipart([FILE, b"Phantom^Chest"]))
    assert "Phantom" not in caplog.text


@pytest.mark.parametrize("client", ["right", "none"])
def test_tls_accepts_only_known_certificates(tmp_path: Path, client: str) -> None:
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
        until(lambda: web.count if client == "right" else web.count_of("stranger"))


def test_stopping_waits_for_the_request_in_progress(tmp_path: Path) -> None:
    content = multipart([FILE])
    head = f"POST /dicom-web/studies HTTP/1.1\r\nContent-Type: {KIND}\r\nContent-Length: {len(content)}\r\n"
    with listening(tmp_path) as web:
        peer = socket.create_connection((HOST, web.port))
        peer.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 100"), "the request is in progress"
        later = threading.Timer(0.5, peer.sendall, [content])
        later.start()
    later.join()
    with peer:
        assert peer.recv(12) == b"HTTP/1.1 200"


def test_a_missing_package_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(f'[receive.stow]\nport = 0\n[[destination]]\nname = "a"\nhost = "{HOST}"\n')
    code = "import sys; sys.modules['python_multipart'] = None; from cxr_infer.__main__ import main; main()"
    command = [sys.executable, "-c", code, "node", "run", "--config", "node.toml", "--port", "0", "--http-port", "-1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "STOW-RS input needs more packages; run: pip install" in done.stderr
    assert "python-multipart" in done.stderr
