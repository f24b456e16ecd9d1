"""The server below the C-STORE SCP: it stops strangers, oversized PDUs and endless messages.

pynetdicom announces a maximum PDU length, but reads whatever length a peer claims. Here every header is checked before
the rest is read, and the memory of messages is counted over all associations.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from cxr_infer.node.config import Receive
from cxr_infer.node.door import Door, Tell
from cxr_infer.node.intake import Budget
from cxr_infer.patient_server import PatientServer

HEADER = struct.Struct(">BBL")  # type, reserved, length (PS3.8 9.3.1)
P_DATA = 0x04
MOST_NEGOTIATION = 1 << 18  # bytes of any other PDU: 128 presentation contexts with 30 syntaxes need about half
MOST_COMMAND = 1 << 16  # bytes of a command set
MOST_QUEUED = 2  # messages that a peer may send before it gets an answer
NO_PDU = b"\xff\0\0\0\0\0"  # unknown type, so that pynetdicom aborts the association
CONNECTIONS = 4  # ratio to associations: connections may never ask for one


class BoundedSocket(AssociationSocket):
    """Refuses PDUs longer than agreed, and messages that exceed the memory budget."""

    def __init__(self, assoc: Association, client_socket: socket.socket, receive: Receive, budget: Budget, tell: Tell):
        super().__init__(assoc, client_socket=client_socket)
        self._receive, self._budget, self._tell = receive, budget, tell
        self._in_body = self._refused = False

    def recv(self, nr_bytes: int) -> bytearray:
        if self._refused:
            return bytearray()  # treated as a closed connection
        found = super().recv(nr_bytes)
        if self._in_body or len(found) < HEADER.size:
            self._in_body = False
            return found
        kind, _, length = HEADER.unpack(found)
        problem = self._problem(kind, length)
        if problem:
            self._refused = True
            self._tell("refused", reason=problem, address=_address(self.assoc))
            return bytearray(NO_PDU)
        self._in_body = 1 <= kind <= 7
        return found

    def _problem(self, kind: int, length: int) -> str:
        if kind != P_DATA:
            return f"a PDU of {length} bytes" if length > MOST_NEGOTIATION else ""
        if length > self._receive.max_pdu:
            return f"a PDU of {length} bytes; {self._receive.max_pdu} were agreed"
        dimse = self.assoc.dimse
        message = dimse.message
        if dimse.msg_queue.qsize() > MOST_QUEUED:
            return "too many unanswered messages"
        if message is None:
            self._budget.hold(id(self), 0)
            return ""
        if message.encoded_command_set.tell() > MOST_COMMAND:
            return "an endless command"
        size = (message.data_set.tell() if message.data_set is not None else 0) + length
        return (
            ""
            if self._budget.hold(id(self), size)
            else f"an instance of more than {size >> 20} MB; see instance_mb and memory_mb"
        )

    def close(self) -> None:
        self._budget.hold(id(self), 0)
        super().close()


def _address(assoc: Association) -> str:
    place = assoc.requestor.address_info
    return "" if place is None else place.address


class NodeServer(PatientServer, ThreadedAssociationServer):
    """Accepts TCP connections from allowed addresses; a slow TLS handshake does not delay others."""

    daemon_threads = True
    receive: Receive
    budget: Budget
    tell: Tell

    def __init__(
        self, ae: AE, address: Any, title: str, contexts: Any, tls: Any, evt_handlers: Any, receive: Receive,
        budget: Budget, tell: Tell,
    ) -> None:  # fmt: skip
        self.receive, self.budget, self.tell = receive, budget, tell
        self._open, self._count_lock = 0, threading.Lock()
        super().__init__(ae, address, title, contexts, tls, evt_handlers, _Handler)
        # the base class would do the handshake in the accepting thread
        self._door, self.ssl_context = Door(receive, self.ssl_context, tell), None

    def get_request(self) -> tuple[socket.socket, Any]:
        found, address = super().get_request()
        found.settimeout(self.receive.timeout)
        return found, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether this peer may connect."""
        if not self._door.lets_in(client_address):
            return False
        if len(self.active_associations) + self._open > CONNECTIONS * self.receive.associations:
            self.tell("refused", reason="too many connections", address=str(client_address[0]))
            return False
        return True

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Count a connection until it becomes an association."""
        with self._count_lock:
            self._open += 1
        try:
            yield
        finally:
            with self._count_lock:
                self._open -= 1

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.opening():
            secured = self._door.secured(request, client_address)
            if secured is None:
                self.shutdown_request(request)
            else:
                super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Record a connection that failed early; that is not an error of the node."""
        self.tell("refused", reason="connection failed", address=str(client_address[0]))

    def server_bind(self) -> None:
        self.allow_reuse_address = os.name == "posix"  # on Windows it would let two servers share a port
        super().server_bind()


class _Handler(RequestHandler):
    server: NodeServer

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        assoc.dul.event_queue.get_nowait()  # "connected"; the new socket reports it again
        server = self.server
        assoc.dul.socket = BoundedSocket(assoc, self.request, server.receive, server.budget, server.tell)
        return assoc
