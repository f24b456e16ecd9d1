"""The C-STORE and C-ECHO SCP: an instance is acknowledged after the spool has it on disk."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, evt

from cxr_infer.errors import UsageError
from cxr_infer.node.config import Config
from cxr_infer.node.dicom_file import (
    CANNOT_UNDERSTAND,
    INVALID_INSTANCE,
    OUT_OF_RESOURCES,
    SYNTAXES,
    file_head,
    is_uid,
    storage_classes,
)
from cxr_infer.node.dimse_server import NodeServer
from cxr_infer.node.events import Events
from cxr_infer.node.intake import Intake
from cxr_infer.node.records import Arrival
from cxr_infer.node.spool import Spool
from cxr_infer.node.tls import server_context

VERIFICATION, STORAGE_COMMITMENT = UID("1.2.840.10008.1.1"), UID("1.2.840.10008.1.20.1")  # SOP classes
SUCCESS, NO_SUCH_ARGUMENT = 0x0000, 0x0114
STOP_WITHIN = 0.2  # s


class Receiver:
    """Stores instances from the network in the spool. `start` binds the port, `stop` finishes what has begun."""

    def __init__(self, config: Config, spool: Spool, events: Events, intake: Intake) -> None:
        self._config, self._spool, self._events, self._intake = config, spool, events, intake
        self._server: NodeServer | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Raises UsageError if the address or the certificates cannot be used."""
        receive = self._config.receive
        ae = AE(receive.ae_title)
        ae.maximum_pdu_size, ae.maximum_associations = receive.max_pdu, receive.associations
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = receive.timeout
        ae.require_calling_aet = list(receive.calling)
        ae.require_called_aet = bool(receive.called)
        for sop_class in storage_classes(self._config.node):
            ae.add_supported_context(sop_class, SYNTAXES)
        ae.add_supported_context(VERIFICATION)
        ae.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
        tls = None if receive.tls is None else server_context(receive.tls)
        handlers: Sequence[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_EVENT_REPORT, reported, [self._spool, self._events]),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_REJECTED, self._rejected),
        ]
        try:
            server = ae.make_server(
                (receive.address, receive.port),
                ssl_context=tls,
                evt_handlers=list(handlers),
                server_class=NodeServer,
                receive=receive,
                budget=self._intake.budget,
                tell=self._events.tell,
            )
        except OSError as error:
            place = f"{receive.address}:{receive.port}"
            raise UsageError(f"{place}: cannot listen: {error.strerror}; choose another port") from error
        assert isinstance(server, NodeServer)
        ae._servers.append(server)  # `shutdown` removes it from there
        self._server = server
        threading.Thread(target=server.serve_forever, args=(STOP_WITHIN,), name="receive", daemon=True).start()

    def stop(self, seconds: float) -> None:
        """Accept no more connections; give open associations that time to end, then abort them."""
        server, self._server = self._server, None
        if server is None:
            return
        ours = server.active_associations
        server.shutdown()
        for association in ours:
            association.join(seconds / max(1, len(ours)))
            if association.is_alive():
                association.abort()

    def _requested(self, event: Any) -> None:
        """Before the negotiation: accept any of several called AE titles."""
        association = event.assoc
        called = str(association.requestor.primitive.called_ae_title).strip()
        if called in self._config.receive.called:
            association.acceptor.ae_title = called
        elif self._config.receive.called:
            association.acceptor.ae_title = self._config.receive.called[0]

    def _rejected(self, event: Any) -> None:
        primitive = event.assoc.requestor.primitive
        self._events.tell(
            "stranger",
            reason="association rejected: AE title not allowed, or too many associations",
            address=event.assoc.requestor.address_info.address,
            calling=str(primitive.calling_ae_title).strip(),
            called=str(primitive.called_ae_title).strip(),
        )

    def _store(self, event: Any) -> int:
        """Handle C-STORE. Returns the status; 0x0000 means that the instance is safe on disk."""
        request, context = event.request, event.context
        uid = str(request.AffectedSOPInstanceUID or "")
        if not is_uid(uid):
            self._events.tell("refused", reason="invalid SOPInstanceUID")
            return INVALID_INSTANCE
        requestor = event.assoc.requestor
        arrival = Arrival(
            uid,
            str(request.AffectedSOPClassUID),
            str(context.transfer_syntax),
            str(requestor.ae_title).strip(),
            str(requestor.primitive.called_ae_title).strip(),
        )
        if request.DataSet is None or not request.DataSet.getbuffer().nbytes:
            self._events.tell("refused", uid=uid, reason="no data set")
            return CANNOT_UNDERSTAND
        content = request.DataSet.getbuffer()
        told = self._intake.take(arrival, (file_head(arrival), content))
        return OUT_OF_RESOURCES if told is None else SUCCESS


def reported(event: Any, spool: Spool, events: Events) -> tuple[int, None]:
    """Handle N-EVENT-REPORT: a destination reports what it has committed to store (PS3.4 J.3.3)."""
    with contextlib.suppress(Exception):  # the report comes from outside and may contain anything
        report = event.event_information
        transaction = str(report.TransactionUID)
        committed = {str(item.ReferencedSOPInstanceUID) for item in report.get("ReferencedSOPSequence") or ()}
        refused = {str(item.ReferencedSOPInstanceUID) for item in report.get("FailedSOPSequence") or ()}
        ended = spool.report(transaction, committed, refused)
        events.tell("committed", transaction=transaction, instances=ended, failed=len(refused))
        return SUCCESS, None
    return NO_SUCH_ARGUMENT, None
