"""The surroundings of a node in tests: an archive that keeps every byte, senders, and the node as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.association import Association

from cxr_infer.node import care
from cxr_infer.node.dicom_file import SYNTAXES
from cxr_infer.node.events import Events
from cxr_infer.node.spool import Spool
from tests.conftest import COMMAND

HOST = "127.0.0.1"
PATIENCE = 60.0  # s, enough on a busy machine
TIMES = ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime")


class Archive:
    """A C-STORE SCP. status: its response, or a function of the request. times: how often each UID arrived."""

    def __init__(self, status: int | Callable[[evt.Event], int] = 0) -> None:
        self.status = status
        self.files: dict[str, bytes] = {}
        self.times: dict[str, int] = {}
        self.handlers: list[Any] = []
        self.port = 0
        self._server: Any = None

    def _store(self, event: evt.Event) -> int:
        status = self.status(event) if callable(self.status) else self.status
        if status == 0:
            uid = str(event.request.AffectedSOPInstanceUID)
            self.files[uid] = event.encoded_dataset()
            self.times[uid] = self.times.get(uid, 0) + 1
        return status

    def start(self, ssl_context: Any = None, contexts: Sequence[Any] = AllStoragePresentationContexts) -> None:
        ae = AE("ARCHIVE")
        for context in contexts:
            ae.add_supported_context(context.abstract_syntax, SYNTAXES)
        for uid in ("1.2.840.10008.1.20.1",) if self.handlers else ():  # storage commitment
            ae.add_supported_context(uid)
        handlers = [(evt.EVT_C_STORE, self._store), *self.handlers]
        self._server = ae.start_server((HOST, self.port), block=False, evt_handlers=handlers, ssl_context=ssl_context)
        self.port = self._server.server_address[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            for association in self._server.active_associations:
                association.abort()
            self._server = None

    def __enter__(self) -> Archive:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def associate(
    port: int, content: Sequence[bytes] = (), called: str = "CXRINFER", calling: str = "MODALITY", **more: Any
) -> Association:
    """Request an association that offers the contexts that these files need."""
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = PATIENCE
    wanted = {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in map(opened, content)}
    ae.requested_contexts = [build_context(*each) for each in sorted(wanted)] or [build_context("1.2.840.10008.1.1")]
    return ae.associate(HOST, port, ae_title=called, **more)


def send(port: int, files: Sequence[bytes], **more: Any) -> list[int | None]:
    """Send files and return the status of each, None if there was no answer."""
    association = associate(port, files, **more)
    if not association.is_established:
        return [None] * len(files)
    found: list[int | None] = []
    for file in files:
        # a killed node has left the association by then
        status = association.send_c_store(opened(file)) if association.is_established else {}
        found.append(status.Status if "Status" in status else None)
    if association.is_established:
        association.release()
    return found


def opened(content: bytes) -> Dataset:
    return dcmread(BytesIO(content))


def renamed(content: bytes, uid: str, class_uid: str = "", **attributes: Any) -> bytes:
    """Return the file as another instance, optionally of another class or with other attributes."""
    dataset = opened(content)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    if class_uid:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = class_uid
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def body(content: bytes) -> bytes:
    """Return the encoded data set of a file, without its file meta information."""
    length = dcmread(BytesIO(content), stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    return content[144 + length :]


def timeless(content: bytes) -> Dataset:
    """Return the data set without its times of creation."""
    dataset = opened(content)
    for keyword in TIMES:
        del dataset[keyword]
    del dataset.ContributingEquipmentSequence[-1].ContributionDateTime
    return dataset


def until(condition: Callable[[], Any], message: str = "", seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message or "condition not met in time"
        time.sleep(0.05)


class RunningInput:
    """A running server that receives instances, and the events it reported."""

    def __init__(self, port: int, spool: Spool, events: Events) -> None:
        self.port, self.spool, self.events = port, spool, events

    @property
    def count(self) -> int:
        return int(care.counts(self.spool)["instances"]["received"])

    def count_of(self, event: str) -> int:
        return self.events.counters[event, ""]


class NodeProcess:
    """`cxr-infer node run` as a process."""

    def __init__(self, folder: Path, *arguments: object, listens_at: int = 0, **environment: str) -> None:
        self.folder, self.arguments, self.environment = folder, arguments, environment
        self.spool = folder / "spool"
        self.process: subprocess.Popen[str] | None = None
        self.port, self.http_port = listens_at, 0

    def start(self) -> None:
        command = [*COMMAND, "node", "run", "--spool", self.spool, "--port", self.port, "--http-port", 0]
        self.process = subprocess.Popen(
            [*map(str, command), *map(str, self.arguments)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200", **self.environment},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " at " in line, line or self.process.communicate()[1]
        self.port = int(line.split(" at ")[1].split(",")[0].rpartition(":")[2])
        self.http_port = int(self.process.stdout.readline().split("/")[2].rpartition(":")[2])

    def kill(self) -> None:
        """Kill without warning, as a power failure would."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        """Stop gracefully and return exit status and stderr."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def audit(self) -> str:
        return (self.spool / "audit.jsonl").read_text()

    def __enter__(self) -> NodeProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextmanager
def background(work: Callable[[], Any]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(PATIENCE)
