"""Demonstrate a sender of phantoms, a node and a receiver on loopback, and trace each instance with its times."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom import AE, AllStoragePresentationContexts, evt

from cxr_infer.errors import ImageError
from cxr_infer.node.config import LOOPBACK, Config, Destination, Node, Receive
from cxr_infer.node.phantoms import phantom_instance
from cxr_infer.node.service import RunningNode, running
from cxr_infer.node.work import DenoiseInstance

COUNT, SIDE = 4, 512
PATIENCE = 50.0  # s
KEYWORDS = ["SOPInstanceUID", "SourceImageSequence"]


@dataclass
class Way:
    """The path of one instance; times are time.monotonic() in s."""

    uid: str
    sent: float
    acknowledged: float
    original: float | None = None
    derived: float | None = None
    derived_uid: str = ""

    @property
    def complete(self) -> bool:
        return self.original is not None and self.derived is not None


class Archive:
    """A small receiver that keeps only UIDs and times."""

    def __init__(self) -> None:
        self.arrived: dict[str, tuple[float, str]] = {}  # by UID: time, and the UID of its source
        self._lock = threading.Lock()

    def store(self, event: Any) -> int:
        content = BytesIO(event.encoded_dataset())
        dataset = dcmread(content, stop_before_pixels=True, specific_tags=list(KEYWORDS))
        source = dataset.get("SourceImageSequence")
        with self._lock:
            self.arrived[str(dataset.SOPInstanceUID)] = (
                time.monotonic(),
                str(source[0].ReferencedSOPInstanceUID) if source else "",
            )
        return 0

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Listen while the context lasts; yields the port."""
        ae = AE("ARCHIVE")
        ae.supported_contexts = AllStoragePresentationContexts
        server: Any = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)])
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


def demonstrate(
    denoise: DenoiseInstance, say: Callable[[str], None], count: int = COUNT, side: int = SIDE
) -> list[Way]:
    """Send phantoms through a node. Raises ImageError if not all arrive in time.

    denoise: as `batch.one_file.denoise_one`. say: called with a message for each step. count: phantoms. side: px.
    """
    archive = Archive()
    with archive.listening() as archive_port, tempfile.TemporaryDirectory() as folder:
        say(f"archive: ARCHIVE, port {archive_port}")
        config = Config(
            Node(spool=str(Path(folder) / "spool"), http_port=0),
            Receive(port=0),
            destinations=(Destination("archive", LOOPBACK, archive_port, "ARCHIVE"),),
        )
        with running(config, denoise) as node:
            port = node.receiver.port
            say(f"node: {config.receive.ae_title}, port {port}, its spool in {config.node.spool}")
            instances = [phantom_instance(seed, side) for seed in range(1, count + 1)]
            ways = send_phantoms(port, instances)
            say(f"modality: {count} phantoms of {side} x {side} px sent and acknowledged")
            _wait(node, ways, archive)
    if not all(way.complete for way in ways):
        raise ImageError(f"not all instances arrived within {PATIENCE:g} s; is this machine busy?")
    return ways


def send_phantoms(port: int, instances: Sequence[tuple[str, bytes]]) -> list[Way]:
    """Send instances as a modality does. Raises ImageError if the node does not accept them."""
    ae = AE("MODALITY")
    ae.add_requested_context(ComputedRadiographyImageStorage)
    association = ae.associate(LOOPBACK, port, ae_title="CXRINFER")
    if not association.is_established:
        raise ImageError("the node accepted no association; does a firewall block loopback?")
    ways = []
    for uid, content in instances:
        started = time.monotonic()
        status = association.send_c_store(dcmread(BytesIO(content)))
        if "Status" not in status or status.Status != 0:
            raise ImageError(f"{uid}: not acknowledged; is the disk full?")
        ways.append(Way(uid, started, time.monotonic()))
    association.release()
    return ways


def _wait(node: RunningNode, ways: list[Way], archive: Archive) -> None:
    by_uid = {way.uid: way for way in ways}
    end = time.monotonic() + PATIENCE
    while not all(way.complete for way in ways) and time.monotonic() < end:
        node.tick()
        for uid, (when, source) in dict(archive.arrived).items():
            if uid in by_uid:
                by_uid[uid].original = when
            elif source in by_uid:
                by_uid[source].derived, by_uid[source].derived_uid = when, uid
