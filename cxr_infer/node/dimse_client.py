"""The C-STORE SCU, and storage commitment: files are sent byte for byte wherever the destination accepts them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association

from cxr_infer.node.config import NO, Destination
from cxr_infer.node.events import Events
from cxr_infer.node.outcome import ACKNOWLEDGED, Fate, Outcome
from cxr_infer.node.receiving import STORAGE_COMMITMENT, reported
from cxr_infer.node.records import Delivery
from cxr_infer.node.spool import Spool
from cxr_infer.node.tls import client_context

_config.STORE_SEND_CHUNKED_DATASET = True  # stream files from disk instead of parsing them

MOST_CONTEXTS = 120  # of 128 (PS3.8 9.3.2.2)
COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")  # well-known SOP instance (PS3.4 J.3.5)
UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
DUPLICATE_INSTANCE = 0x0111
REQUEST_COMMITMENT = 1  # action type (PS3.4 J.3.2)
REFUSED_RESOURCES = 0xA7
WARNINGS = frozenset({0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xB007})  # stored with a warning (PS3.4 B.2.3, PS3.7 C)


class DownError(Exception):
    """A destination is unreachable, or does not answer."""


@dataclass
class OpenAssociation:
    """An open association to a destination. commits: whether the destination offers storage commitment."""

    association: Association
    commits: bool
    fallback: set[str] = field(default_factory=set)

    def send(self, delivery: Delivery) -> Outcome:
        """Send one file. If no accepted context fits, convert it to another uncompressed syntax, or count it as
        refused.
        """
        if not self.association.accepted_contexts:
            return Outcome(Fate.REFUSED, "neither its SOP class nor its transfer syntax is accepted")
        try:
            status = self.association.send_c_store(delivery.path)
        except ValueError:  # no context: nothing was sent
            try:
                status = self._converted(delivery)
            except (ValueError, AttributeError, NotImplementedError) as error:
                return Outcome(Fate.REFUSED, f"transfer syntax not accepted: {type(error).__name__}")
        except (RuntimeError, OSError) as error:
            return Outcome(Fate.DOWN, f"the association ended: {type(error).__name__}")
        return _outcome(status)

    def _converted(self, delivery: Delivery) -> Dataset:
        dataset = dcmread(delivery.path)
        if UID(dataset.file_meta.TransferSyntaxUID).is_compressed:
            raise ValueError("compressed, so it cannot be converted")
        return self.association.send_c_store(dataset)

    def ask_to_commit(self, deliveries: Sequence[Delivery], transaction_uid: str) -> bool:
        """Request storage commitment (N-ACTION); the answer comes later. Returns whether the request was accepted."""
        request = Dataset()
        request.TransactionUID = transaction_uid
        request.ReferencedSOPSequence = [_reference(each) for each in deliveries]
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            status, _ = self.association.send_n_action(
                request, REQUEST_COMMITMENT, STORAGE_COMMITMENT, COMMITMENT_INSTANCE
            )
            return bool(status) and status.Status == 0
        return False


def _reference(delivery: Delivery) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = delivery.class_uid, delivery.uid
    return item


def _outcome(status: Dataset) -> Outcome:
    """Interpret the status of a C-STORE response (PS3.4 B.2.3)."""
    if "Status" not in status:
        return Outcome(Fate.DOWN, "no answer to C-STORE, or association aborted")
    code = int(status.Status)
    if code == 0 or code in WARNINGS or code == DUPLICATE_INSTANCE:
        return ACKNOWLEDGED
    if code >> 8 == REFUSED_RESOURCES:
        return Outcome(Fate.DOWN, f"out of resources (status 0x{code:04X})")
    return Outcome(Fate.REFUSED, f"refused with status 0x{code:04X}")


@contextlib.contextmanager
def line_to(
    destination: Destination, our_title: str, deliveries: Sequence[Delivery], spool: Spool, events: Events
) -> Iterator[OpenAssociation]:
    """Open an association for these files. Raises DownError if that fails, UsageError for unusable TLS files."""
    ae = AE(our_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = destination.timeout
    # one syntax per context, so that a destination can accept each of them
    contexts = [build_context(class_uid, syntax) for class_uid, syntax in contexts_of(deliveries)]
    if destination.commitment != NO:
        contexts.append(build_context(STORAGE_COMMITMENT))
    ae.requested_contexts = contexts
    tls: tuple[ssl.SSLContext, str] | None = None
    if destination.tls is not None:
        tls = client_context(destination.tls), destination.host
    association = ae.associate(
        destination.host,
        destination.port,
        ae_title=destination.ae_title,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, reported, [spool, events])],
        tls_args=tls,
    )
    try:
        # one that accepts no context is aborted by pynetdicom; it is up, and refuses these instances
        if not association.is_established and not association.rejected_contexts:
            refused = association.is_rejected
            raise DownError("association rejected; check AE titles" if refused else "cannot be reached")
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        yield OpenAssociation(association, STORAGE_COMMITMENT in accepted)
    finally:
        if association.is_established:
            association.release()
        elif association.is_alive():
            association.abort()


def contexts_of(deliveries: Sequence[Delivery]) -> list[tuple[str, str]]:
    """Return SOP class and transfer syntax of each file, and the uncompressed syntaxes it may be converted to."""
    found: dict[tuple[str, str], None] = {}
    for delivery in deliveries:
        with contextlib.suppress(Exception):  # reported when it is sent
            syntax = UID(read_file_meta_info(delivery.path).TransferSyntaxUID)
            found[delivery.class_uid, syntax] = None
            if not syntax.is_compressed:
                found |= dict.fromkeys((delivery.class_uid, each) for each in UNCOMPRESSED)
    return list(found)[:MOST_CONTEXTS]


def new_transaction() -> str:
    return str(generate_uid(prefix=None))


Send = Callable[[Delivery], Outcome]
