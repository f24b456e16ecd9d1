"""Out of the spool: to archives that take, refuse, commit themselves, want TLS or a token, or are not there."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import build_context, evt

from cxr_infer.node import care
from cxr_infer.node import sending as sending_module
from cxr_infer.node.config import Config, Destination, Limits, Receive, Tls
from cxr_infer.node.dicom_file import file_head
from cxr_infer.node.events import Events
from cxr_infer.node.phantoms import phantom_instance
from cxr_infer.node.records import Arrival
from cxr_infer.node.sending import Sender
from cxr_infer.node.spool import Spool
from tests.infer.node.archives import HOST, Archive, body, renamed, until
from tests.infer.node.test_receiving import certificate
from tests.ports import reserved_port

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

UID = "1.2.3"
FILE = renamed(phantom_instance(1, 64)[1], UID)
FAST = Limits(retry_seconds=0.05, longest_wait=0.2, attempts=3)


@pytest.fixture(autouse=True)
def _no_idle_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sender look for due instances more often than once a second, so that retries follow their own times."""
    monkeypatch.setattr(sending_module, "POLL", 0.05)


class Outgoing:
    """A sender at work on a spool with instances in it."""

    def __init__(self, spool: Spool, events: Events, destination: Destination, limits: Limits) -> None:
        self.spool, self.events, self.name = spool, events, destination.name
        self.sender = Sender(Config(receive=Receive(), limits=limits), destination, spool, events)

    def told(self, event: str) -> int:
        return self.events.counters[event, self.name]

    @property
    def states(self) -> dict[str, int]:
        return {state: count for state, count in care.counts(self.spool)["instances"].items() if count}


@contextmanager
def sending(
    folder: Path, destination: Destination, *uids: str, syntax: str = ExplicitVRLittleEndian, limits: Limits = FAST
) -> Iterator[Outgoing]:
    events = Events(None)
    with Spool(folder) as spool:
        for uid in uids or (UID,):
            arrival = Arrival(uid, ComputedRadiographyImageStorage, syntax)
            spool.add(arrival, (file_head(arrival), body(FILE)))
            work = spool.begin()
            assert work is not None
            spool.denoised(work, None, [("original", destination.name)], "")
        outgoing = Outgoing(spool, events, destination, limits)
        outgoing.sender.start()
        try:
            yield outgoing
        finally:
            outgoing.sender.stop()
            outgoing.sender.join(20)


def to(archive: Archive, **more: Any) -> Destination:
    return Destination("pacs", HOST, archive.port, "ARCHIVE", **more)


def test_a_file_arrives_as_it_lies_in_the_spool(tmp_path: Path) -> None:
    with Archive() as archive, sending(tmp_path, to(archive), "1.1", "1.2") as outgoing:
        until(lambda: outgoing.states == {"sent": 2})
        assert body(archive.files["1.1"]) == body(FILE)
        assert list(archive.files) == ["1.1", "1.2"], "in the order in which they came"


def test_one_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    def status(event: evt.Event) -> int:
        return 0xC123 if event.request.AffectedSOPInstanceUID == "1.1" else 0

    with Archive(status) as archive, sending(tmp_path, to(archive), "1.1", "1.2", "1.3") as outgoing:
        until(lambda: outgoing.states == {"sent": 2, "failed": 1})
        (problem,) = care.problems(outgoing.spool)
        assert (problem["uid"], "0xC123" in problem["reason"]) == ("1.1", True)
        assert outgoing.told("put off") == FAST.attempts - 1


@pytest.mark.parametrize("status", [0xB000, 0x0111])
def test_a_warning_is_no_refusal(tmp_path: Path, status: int) -> None:
    with Archive(status) as archive, sending(tmp_path, to(archive)) as outgoing:
        until(lambda: outgoing.states == {"sent": 1})


def test_a_full_archive_is_waited_for(tmp_path: Path) -> None:
    archive = Archive(0xA700)
    with archive, sending(tmp_path, to(archive)) as outgoing:
        until(lambda: outgoing.told("put off") > FAST.attempts)
        assert outgoing.states == {"denoised": 1}, "no limit of attempts, but of days"
        archive.status = 0
        until(lambda: outgoing.states == {"sent": 1})


def test_what_cannot_be_sent_for_too_long_is_quarantined(tmp_path: Path) -> None:
    limits = replace(FAST, give_up_days=0.0)
    with sending(tmp_path, Destination("pacs", HOST, reserved_port()), limits=limits) as outgoing:
        until(lambda: outgoing.states == {"failed": 1})
        (problem,) = care.problems(outgoing.spool)
        assert "not sent within 0 days: cannot be reached" in problem["reason"]
        assert len(list(outgoing.spool.files.iterdir())) == 1


def test_an_archive_that_hangs_up_on_one_instance_gets_the_others(tmp_path: Path) -> None:
    def status(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID == "1.1":
            event.assoc.abort()
        return 0

    with Archive(status) as archive, sending(tmp_path, to(archive), "1.1", "1.2", "1.3") as outgoing:
        until(lambda: outgoing.states == {"sent": 2, "denoised": 1})


def test_a_syntax_that_is_not_taken_is_told(tmp_path: Path) -> None:
    archive = Archive()
    archive.start(contexts=[build_context("1.2.840.10008.5.1.4.1.1.7")])  # no CR
    with sending(tmp_path, to(archive), syntax=JPEG2000Lossless) as outgoing:
        until(lambda: outgoing.states == {"failed": 1} or outgoing.told("down"))
        assert outgoing.states != {"sent": 1}
    archive.stop()


def test_what_is_committed_is_done_and_not_before(tmp_path: Path) -> None:
    archive, asked = Archive(), threading.Event()
    requests: list[Dataset] = []

    def commit(event: evt.Event) -> tuple[int, None]:
        requests.append(event.action_information)
        asked.set()
        return 0, None

    archive.handlers = [(evt.EVT_N_ACTION, commit)]
    with archive, sending(tmp_path, to(archive)) as outgoing:
        assert asked.wait(30)
        assert [str(item.ReferencedSOPInstanceUID) for item in requests[0].ReferencedSOPSequence] == [UID]
        assert outgoing.states == {"denoised": 1}
        assert len(list(outgoing.spool.files.iterdir())) == 1, "kept until then"
        assert outgoing.spool.report(str(requests[0].TransactionUID), {UID}, set()) == 1
        assert outgoing.states == {"sent": 1}
        assert not list(outgoing.spool.files.iterdir())


@pytest.mark.parametrize("more", [{"commitment": "no"}, {}])
def test_without_commitment_an_acknowledgement_counts(tmp_path: Path, more: dict[str, str]) -> None:
    archive = Archive()
    archive.handlers = [(evt.EVT_N_ACTION, lambda event: (0x0110, None))]  # refused, where it is asked
    with archive, sending(tmp_path, to(archive, **more)) as outgoing:
        until(lambda: outgoing.states == {"sent": 1})
        until(lambda: outgoing.told("commitment refused") == (not more))  # told after the state is on the disk


@pytest.mark.parametrize("known", [True, False])
def test_an_archive_is_believed_by_its_certificate(tmp_path: Path, known: bool) -> None:
    ca, _ = certificate(tmp_path, "ca")
    other, _ = certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path, "archive", "ca"))
    archive = Archive()
    archive.start(ssl_context=context)
    with sending(tmp_path / "spool", to(archive, tls=Tls(ca if known else other))) as outgoing:
        until(lambda: outgoing.states == {"sent": 1} if known else outgoing.told("down"))
        assert bool(archive.files) == known
    archive.stop()


class Store(BaseHTTPRequestHandler):
    """STOW-RS, as far as a sender sees of it."""

    status: int = 200
    answer: bytes = b"{}"
    seen: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((dict(self.headers), content))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def store() -> Iterator[tuple[type[Store], str]]:
    handler = type("_Store", (Store,), {"seen": []})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, f"http://{HOST}:{server.server_port}/dicom-web/studies"
        server.shutdown()


def test_dicomweb_gets_the_file_and_the_token(
    tmp_path: Path, store: tuple[type[Store], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = store
    monkeypatch.setenv("PACS_TOKEN", "secret")
    with sending(tmp_path, Destination("web", url=url, token_env="PACS_TOKEN")) as outgoing:
        until(lambda: outgoing.states == {"sent": 1})
    ((headers, content),) = handler.seen
    assert headers["Authorization"] == "Bearer secret"
    boundary = headers["Content-Type"].partition("boundary=")[2]
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    _, part, end = content.split(f"--{boundary}".encode())
    assert body(part.partition(b"\r\n\r\n")[2][:-2]) == body(FILE)
    assert end == b"--\r\n"


@pytest.mark.parametrize(("status", "answer"), [
    (409, b""), (202, b'{"00081198": {"vr": "SQ", "Value": [{}]}}'), (415, b"not json"),
    (200, b'{"00081198": [{}]}'), (200, b'{"00081198": ' + 200_000 * b"[" + b"]"),
])  # fmt: skip
def test_what_dicomweb_refuses_is_quarantined(
    tmp_path: Path, store: tuple[type[Store], str], status: int, answer: bytes
) -> None:
    handler, url = store
    handler.status, handler.answer = status, answer
    with sending(tmp_path, Destination("web", url=url)) as outgoing:
        until(lambda: outgoing.states == {"failed": 1})
    assert len(handler.seen) == FAST.attempts


@pytest.mark.parametrize("status", [503, 401, 429])
def test_a_web_store_that_is_down_is_waited_for(tmp_path: Path, store: tuple[type[Store], str], status: int) -> None:
    handler, url = store
    handler.status = status
    with sending(tmp_path, Destination("web", url=url)) as outgoing:
        until(lambda: len(handler.seen) > FAST.attempts)
        handler.status = 200
        until(lambda: outgoing.states == {"sent": 1})


def test_a_token_that_is_not_there_is_waited_for(tmp_path: Path, store: tuple[type[Store], str]) -> None:
    handler, url = store
    with sending(tmp_path, Destination("web", url=url, token_env="NO_SUCH_TOKEN")) as outgoing:
        until(lambda: outgoing.told("down"))
        assert "NO_SUCH_TOKEN" in outgoing.sender.down
    assert not handler.seen
