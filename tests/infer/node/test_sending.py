"""Sending from the spool to archives that accept, refuse, confirm storage, require TLS or a token, or are down."""

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
def _fast_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for due instances more often than once a second, so that retries follow their own intervals."""
    monkeypatch.setattr(sending_module, "POLL", 0.05)


class Outgoing:
    """A running sender and its spool with instances."""

    def __init__(self, spool: Spool, events: Events, destination: Destination, limits: Limits) -> None:
        self.spool, self.events, self.name = spool, events, destination.name
        self.sender = Sender(Config(receive=Receive(), limits=limits), destination, spool, events)

    def count_of(self, event: str) -> int:
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


def test_files_are_sent_unchanged_in_order_of_arrival(tmp_path: Path) -> None:
    with Archive() as archive, sending(tmp_path, to(archive), "1.1", "1.2") as outgoing:
        until(lambda: outgoing.states == {"sent": 2})
        assert body(archive.files["1.1"]) == body(FILE)
        assert list(archive.files) == ["1.1", "1.2"], "in order of arrival"


def test_a_refused_instance_does_not_delay_the_others(tmp_path: Path) -> None:
    def status(event: evt.Event) -> int:
        return 0xC123 if event.request.AffectedSOPInstanceUID == "1.1" else 0

    with Archive(status) as archive, sending(tmp_path, to(archive), "1.1", "1.2", "1.3") as outgoing:
        until(lambda: outgoing.states == {"sent": 2, "failed": 1})
        (problem,) = care.problems(outgoing.spool)
        assert (problem["uid"], "0xC123" in problem["reason"]) == ("1.1", True)
        assert outgoing.count_of("put off") == FAST.attempts - 1


@pytest.mark.parametrize("status", [0xB000, 0x0111])
def test_a_warning_status_is_not_a_refusal(tmp_path: Path, status: int) -> None:
    with Archive(status) as archive, sending(tmp_path, to(archive)) as outgoing:
        until(lambda: outgoing.states == {"sent": 1})


def test_a_full_archive_is_retried_until_it_has_room(tmp_path: Path) -> None:
    archive = Archive(0xA700)
    with archive, sending(tmp_path, to(archive)) as outgoing:
        until(lambda: outgoing.count_of("put off") > FAST.attempts)
        assert outgoing.states == {"denoised": 1}, "limited by days, not by attempts"
        archive.status = 0
        until(lambda: outgoing.states == {"sent": 1})


def test_instances_not_sent_within_the_time_limit_are_quarantined(tmp_path: Path) -> None:
    limits = replace(FAST, give_up_days=0.0)
    with sending(tmp_path, Destination("pacs", HOST, reserved_port()), limits=limits) as outgoing:
        until(lambda: outgoing.states == {"failed": 1})
        (problem,) = care.problems(outgoing.spool)
        assert "not sent within 0 days: cannot be reached" in problem["reason"]
        assert len(list(outgoing.spool.files.iterdir())) == 1


def test_an_aborted_association_does_not_stop_the_other_instances(tmp_path: Path) -> None:
    def status(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID == "1.1":
            event.assoc.abort()
        return 0

    with Archive(status) as archive, sending(tmp_path, to(archive), "1.1", "1.2", "1.3") as outgoing:
        until(lambda: outgoing.states == {"sent": 2, "denoised": 1})


def test_a_rejected_presentation_context_is_reported(tmp_path: Path) -> None:
    archive = Archive()
    archive.start(contexts=[build_context("1.2.840.10008.5.1.4.1.1.7")])  # no CR
    with sending(tmp_path, to(archive), syntax=JPEG2000Lossless) as outgoing:
        until(lambda: outgoing.states == {"failed": 1})
        assert not outgoing.count_of("down"), "it answers, and takes other instances"
        assert outgoing.count_of("put off") == FAST.attempts - 1
    archive.stop()


def test_an_instance_counts_as_sent_only_after_storage_commitment(tmp_path: Path) -> None:
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
        assert len(list(outgoing.spool.files.iterdir())) == 1, "kept until committed"
        assert outgoing.spool.report(str(requests[0].TransactionUID), {UID}, set()) == 1
        assert outgoing.states == {"sent": 1}
        assert not list(outgoing.spool.files.iterdir())


@pytest.mark.parametrize("more", [{"commitment": "no"}, {}])
def test_without_commitment_an_acknowledgement_suffices(tmp_path: Path, more: dict[str, str]) -> None:
    archive = Archive()
    archive.handlers = [(evt.EVT_N_ACTION, lambda event: (0x0110, None))]  # commitment is refused if requested
    with archive, sending(tmp_path, to(archive, **more)) as outgoing:
        until(lambda: outgoing.states == {"sent": 1})
        until(lambda: outgoing.count_of("commitment refused") == (not more))  # counted once the state is on disk


@pytest.mark.parametrize("known", [True, False])
def test_an_archive_is_authenticated_by_its_certificate(tmp_path: Path, known: bool) -> None:
    ca, _ = certificate(tmp_path, "ca")
    other, _ = certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path, "archive", "ca"))
    archive = Archive()
    archive.start(ssl_context=context)
    with sending(tmp_path / "spool", to(archive, tls=Tls(ca if known else other))) as outgoing:
        until(lambda: outgoing.states == {"sent": 1} if known else outgoing.count_of("down"))
        assert bool(archive.files) == known
    archive.stop()


class Store(BaseHTTPRequestHandler):
    """A minimal STOW-RS server that records requests."""

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
        """Log nothing."""


@pytest.fixture
def store() -> Iterator[tuple[type[Store], str]]:
    handler = type("_Store", (Store,), {"seen": []})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, f"http://{HOST}:{server.server_port}/dicom-web/studies"
        server.shutdown()


def test_dicomweb_receives_the_file_and_the_token(
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
def test_instances_refused_by_dicomweb_are_quarantined(
    tmp_path: Path, store: tuple[type[Store], str], status: int, answer: bytes
) -> None:
    handler, url = store
    handler.status, handler.answer = status, answer
    with sending(tmp_path, Destination("web", url=url)) as outgoing:
        until(lambda: outgoing.states == {"failed": 1})
    assert len(handler.seen) == FAST.attempts


@pytest.mark.parametrize("status", [503, 401, 429])
def test_an_unavailable_web_store_is_retried_until_it_returns(
    tmp_path: Path, store: tuple[type[Store], str], status: int
) -> None:
    handler, url = store
    handler.status = status
    with sending(tmp_path, Destination("web", url=url)) as outgoing:
        until(lambda: len(handler.seen) > FAST.attempts)
        handler.status = 200
        until(lambda: outgoing.states == {"sent": 1})


def test_a_missing_token_pauses_sending(tmp_path: Path, store: tuple[type[Store], str]) -> None:
    handler, url = store
    with sending(tmp_path, Destination("web", url=url, token_env="NO_SUCH_TOKEN")) as outgoing:
        until(lambda: outgoing.count_of("down"))
        assert "NO_SUCH_TOKEN" in outgoing.sender.down
    assert not handler.seen
