"""STOW-RS input (PS3.18 10.5): the response reports an instance as stored after the spool has it on disk.

Accepted instances, senders, limits and rules are those of C-STORE.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, cast

from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxr_infer.errors import UsageError
from cxr_infer.node.config import SOFTWARE, Receive, Stow
from cxr_infer.node.dicom_file import (
    CANNOT_UNDERSTAND,
    MISMATCH,
    OUT_OF_RESOURCES,
    NotTakenError,
    file_head,
    is_uid,
    taken_apart,
)
from cxr_infer.node.door import Door, Tell
from cxr_infer.node.intake import Intake
from cxr_infer.node.multipart import HttpError, Part, chunked_blocks, media_type, parts, sized_blocks
from cxr_infer.node.records import Arrival
from cxr_infer.node.stow_answer import StoredInstance, answer
from cxr_infer.node.tls import server_context
from cxr_infer.patient_server import PatientServer

DICOM = "application/dicom"
WAY = "STOW-RS"  # in the audit
MOST_PARTS = 10_000  # per request; the response names them all
DRAINED, DRAIN_SECONDS = 1 << 23, 2.0  # bytes and s of a refused request to read, so that the sender sees the response
STOP_WITHIN = 0.2  # s
LENGTH = re.compile(r"[0-9]{1,18}")
RETRY_AFTER = {"Retry-After": "10"}  # s


def token_of(stow: Stow) -> str:
    """Return the token that senders must send; empty if none is required. Raises UsageError if it is not set."""
    if not stow.token_env:
        return ""
    token = os.environ.get(stow.token_env, "").strip()
    if not token:
        raise UsageError(f"[receive.stow]: no token in the environment; set the variable {stow.token_env}")
    return token


class StowServer(PatientServer, ThreadingHTTPServer):
    """The STOW-RS server. Raises UsageError if the port, the token or the certificates cannot be used."""

    daemon_threads = True

    def __init__(self, receive: Receive, stow: Stow, intake: Intake, tell: Tell) -> None:
        self.timeout_seconds, self.store = receive.timeout, stow.path + "/studies"
        self.token, self.intake, self.tell = token_of(stow), intake, tell
        self._door = Door(receive, None if stow.tls is None else server_context(stow.tls), tell)
        self._most = receive.associations
        self._free = threading.BoundedSemaphore(self._most)
        self.address_family = socket.AF_INET6 if ":" in stow.address else socket.AF_INET
        try:
            super().__init__((stow.address, stow.port), _Handler)
        except OSError as error:
            place = f"{stow.address}:{stow.port}"
            raise UsageError(f"{place}: cannot listen: {error.strerror}; choose another port") from error

        host = f"[{stow.address}]" if ":" in stow.address else stow.address
        scheme = "http" if stow.tls is None else "https"
        self.address = f"{scheme}://{host}:{self.server_port}{self.store}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(STOP_WITHIN,), name="stow", daemon=True).start()

    def stop(self, seconds: float) -> None:
        """Accept no more connections; give running requests that time to end."""
        end = time.monotonic() + seconds
        self.shutdown()
        self.server_close()
        for _ in range(self._most):
            self._free.acquire(timeout=max(0.0, end - time.monotonic()))

    def get_request(self) -> tuple[Any, Any]:
        found, address = super().get_request()
        found.settimeout(self.timeout_seconds)
        return found, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if not self._door.lets_in(client_address):
            return False
        if not self._free.acquire(blocking=False):
            self.tell("refused", reason="too many connections", address=str(client_address[0]))
            return False
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        secured = self._door.secured(request, client_address)
        if secured is None:
            return
        try:
            super().finish_request(secured, client_address)
        finally:
            self.shutdown_request(secured)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Record a connection that ended early; that is not an error of the node."""
        self.tell("refused", reason="connection failed", address=str(client_address[0]))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # for chunks and 100 Continue; still one request per connection
    server_version, sys_version = SOFTWARE.replace(" ", "/"), ""

    def parse_request(self) -> bool:
        try:
            return super().parse_request()
        except TypeError:  # raised by the standard library for a contradictory boundary (RFC 2231)
            self.close_connection = True
            self._send(HTTPStatus.BAD_REQUEST, {"error": "unreadable headers"}, {})
            return False

    def handle_expect_100(self) -> bool:
        """Delay 100 Continue until it is clear that the body is wanted."""
        return True

    def do_POST(self) -> None:
        self.close_connection = True
        server = cast(StowServer, self.server)
        try:
            status, body = self._stored(server)
            self._send(status, body, RETRY_AFTER if status == HTTPStatus.SERVICE_UNAVAILABLE else {})
        except HttpError as refused:
            event = "stranger" if refused.status == HTTPStatus.UNAUTHORIZED else "refused"
            server.tell(event, reason=f"{WAY}: {refused.reason}", address=str(self.client_address[0]))
            self._send(refused.status, {"error": refused.reason}, refused.headers)
            self._drain()
        finally:
            server.intake.budget.hold(id(self), 0)

    def do_GET(self) -> None:
        self.close_connection = True
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only POST is supported"}, {"Allow": "POST"})

    def _stored(self, server: StowServer) -> tuple[HTTPStatus, dict[str, Any]]:
        """Store every part. Raises HttpError if the request as a whole is refused."""
        study = self._study(server)
        kind = media_type(self.headers.get("Content-Type", ""))
        if kind.name != "multipart/related" or kind.type not in ("", DICOM) or not kind.boundary:
            raise HttpError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f'send multipart/related; type="{DICOM}" with a boundary'
            )
        blocks = self._blocks()
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        found: list[StoredInstance] = []
        for part in parts(blocks, kind.boundary, self._hold):
            if len(found) == MOST_PARTS:
                raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_PARTS} instances in a request")
            found.append(self._store(server, part, study))
        if not found:
            raise HttpError(HTTPStatus.BAD_REQUEST, "no instance in the request")
        return answer(found)

    def _study(self, server: StowServer) -> str:
        """Return the study UID in the URL; empty if there is none."""
        if server.token:
            scheme, _, given = self.headers.get("Authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode(), server.token.encode())
            if scheme.lower() != "bearer" or not same:
                raise HttpError(HTTPStatus.UNAUTHORIZED, "wrong or no token", {"WWW-Authenticate": "Bearer"})
        path = self.path.partition("?")[0].removesuffix("/")
        study = path.removeprefix(f"{server.store}/")
        if path == server.store:
            return ""
        if study == path or not is_uid(study):
            raise HttpError(HTTPStatus.NOT_FOUND, f"not found; use {server.store}")
        return study

    def _blocks(self) -> Iterator[bytes]:
        length, coding = (self._only(name) for name in ("Content-Length", "Transfer-Encoding"))
        file = cast(Any, self.rfile)
        if coding is not None and length is None and coding.strip().lower() == "chunked":
            return chunked_blocks(file)
        if coding is None and length is not None and LENGTH.fullmatch(length):
            return sized_blocks(file, int(length))
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "send either Content-Length or chunks")

    def _only(self, name: str) -> str | None:
        """Return a header that may occur only once; otherwise a proxy in front could see another body (request
        smuggling).
        """
        found = self.headers.get_all(name, [])
        if len(found) > 1:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"more than one {name}")
        return found[0] if found else None

    def _hold(self, size: int) -> None:
        budget = cast(StowServer, self.server).intake.budget
        if size > budget.each:
            reason = f"an instance of more than {budget.each >> 20} MB; see instance_mb"
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        if not budget.hold(id(self), size):
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "too much data at once; see memory_mb", RETRY_AFTER)

    def _store(self, server: StowServer, part: Part, study: str) -> StoredInstance:
        """Store one part. Only UIDs are recorded about it."""
        try:
            if media_type(part.kind or DICOM).name != DICOM:
                raise NotTakenError(CANNOT_UNDERSTAND, f"not a part of type {DICOM}")
            arrival, dataset = taken_apart(memoryview(part.content), server.intake.classes)
            if study and study != _study_of(arrival, part.content):
                raise NotTakenError(MISMATCH, "belongs to another study than the URL", arrival)
            told = server.intake.take(arrival, (file_head(arrival), dataset), way=WAY)
            return StoredInstance(arrival, 0 if told is not None else OUT_OF_RESOURCES)
        except NotTakenError as error:
            uid = "" if error.arrival is None else error.arrival.uid
            server.tell("refused", uid=uid, reason=error.reason, way=WAY)
            return StoredInstance(error.arrival, error.status)

    def _send(self, status: HTTPStatus, body: dict[str, Any], headers: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        with contextlib.suppress(OSError):  # a sender that does not read the response sends again
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if "error" in body else "application/dicom+json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def _drain(self) -> None:
        """Keep reading for a moment: closing a connection with unread bytes would discard the response."""
        left, end = DRAINED, time.monotonic() + DRAIN_SECONDS
        with contextlib.suppress(OSError):
            self.connection.settimeout(DRAIN_SECONDS)
            while left > 0 and time.monotonic() < end:
                block = self.rfile.read1(1 << 16)
                if not block:
                    return
                left -= len(block)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the audit has it, without patient data in the request."""


def _study_of(arrival: Arrival, content: bytearray) -> str:
    """Return the study UID of a file; empty if reading it would require inflating."""
    if arrival.syntax == DeflatedExplicitVRLittleEndian:
        return ""
    with contextlib.suppress(Exception):  # pydicom raises any exception
        dataset = dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        return str(dataset.get("StudyInstanceUID", ""))
    return ""
