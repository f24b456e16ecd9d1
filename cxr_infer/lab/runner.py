"""Run the studies of a protocol; each unit of work is stored at once, so that an interrupted run can continue.

Studies are independent and run in parallel, one per core; the units of a study run one after the other. A stored unit
belongs to one protocol and set of images, by their hashes, and to one method, by its key (`Setting.key_of`): a changed
network is measured anew, and an added method needs only its own units.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import CxrError, ImageError
from cxr_infer.files import open_below, write_below
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.stopping import LabStopped as LabStopped
from cxr_infer.lab.stopping import until
from cxr_infer.lab.studies import NamedArrays, Setting, Study
from cxr_infer.model.attempts import attempt

UNITS = "units"  # folder in a result
LABEL = "unit"  # array that identifies a stored unit
FORGED = (LookupError, TypeError, ValueError)  # what a study meets in arrays that are not its own
UNIT_FORMAT = 2  # of stored units and their keys; raised when a study changes the meaning of one


@dataclass(frozen=True)
class LabProgress:
    """Progress of a run. share: of all studies, 0 to 1. study: of the last finished unit; done and units: of that
    study.
    """

    share: float
    study: str
    done: int
    units: int


def identity(facts: Mapping[str, object]) -> str:
    """Return a SHA-256, hexadecimal, of everything but the method that units depend on: protocol, images, version of
    the lab.
    """
    return hashlib.sha256(json.dumps({**facts, "format": UNIT_FORMAT}, sort_keys=True).encode()).hexdigest()


class StoredUnits:
    """`UnitStore` of one study: a unit is read from the result's folder, or computed and written there.

    stopped: asked before each unit is computed. advanced: called after each. A key can be requested only once.
    """

    def __init__(
        self,
        out: Path,
        study: str,
        belongs_to: str,
        stopped: Callable[[], bool],
        advanced: Callable[[str, int, int], None],
    ) -> None:
        self._out, self._study, self._belongs_to = out, study, belongs_to
        self._stopped, self._advanced = stopped, advanced
        self._units = self._done = 0
        self.found = False  # whether any was there
        self._keys: set[str] = set()

    def expect(self, units: int) -> None:
        self._units += units
        self._advanced(self._study, self._done, self._units)

    def unit(self, key: str, compute: Callable[[], NamedArrays]) -> NamedArrays:
        """Raises LabStopped, ImageError if it cannot be stored or a link, FIFO or the like is in its place, and
        ValueError for a repeated key.
        """
        if key in self._keys:
            raise ValueError(f"study {self._study} has two units {key!r}")
        self._keys.add(key)
        label = json.dumps([self._study, key, self._belongs_to])
        place = PurePath(UNITS, self._study, f"{hashlib.sha256(label.encode()).hexdigest()[:32]}.npz")
        arrays = _stored(self._out, place, label)
        if arrays is None:
            if self._stopped():
                raise LabStopped
            computed = {name: np.asarray(array) for name, array in compute().items()}
            write_below(self._out, place, _encoded(computed, label))
            arrays = computed
        else:
            self.found = True
        self._done += 1
        self._units = max(self._units, self._done)
        self._advanced(self._study, self._done, self._units)
        return arrays


def _encoded(arrays: Mapping[str, NDArray[Any]], label: str) -> bytes:
    if LABEL in arrays:
        raise ValueError(f"a unit has an array {LABEL!r}, which is reserved")
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{LABEL: np.asarray(label), **arrays})
    return stream.getvalue()


def _stored(out: Path, place: PurePath, label: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a unit; None if it is missing or damaged and must be computed. Raises ImageError."""
    try:
        with open_below(out, place) as file:
            _require_plain_members(file)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except ImageError:  # a ValueError too
        raise
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile):
        return None
    found = arrays.pop(LABEL, None)
    return arrays if found is not None and str(found) == label else None


def _require_plain_members(file: BinaryIO) -> None:
    """Raise ValueError unless the members of a ZIP file are uncompressed, as NumPy stores them (no ZIP bombs)."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            encrypted = member.flag_bits & 1
            if encrypted or member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise ValueError(f"{member.filename} is compressed")
    file.seek(0)


class _Shares:
    """Combines the progress of all studies; called from several threads."""

    def __init__(self, studies: int, seen: Callable[[LabProgress], None]) -> None:
        self._studies, self._seen = studies, seen
        self._lock = threading.Lock()
        self._of: dict[str, float] = {}

    def advanced(self, study: str, done: int, units: int) -> None:
        with self._lock:
            self._of[study] = done / units if units else 0.0
            self._seen(LabProgress(sum(self._of.values()) / self._studies, study, done, units))


def run_studies(
    studies: Mapping[str, Study],
    setting: Setting,
    out: Path,
    belongs_to: str,
    *,
    stopped: Callable[[], bool],
    seen: Callable[[LabProgress], None],
    workers: int,
) -> list[Finding]:
    """Return the findings of all studies, in order.

    out: folder of the result; units are stored in it. belongs_to: `identity` of their inputs. stopped: asked between
    units and before each image. seen: called with the progress, by one thread at a time. workers: parallel studies.
    Raises LabStopped, CxrError like the studies, ValueError if two findings share a key.
    """
    halt = threading.Event()  # a study failed, or the caller was interrupted
    shares = _Shares(len(studies), seen)
    setting = replace(setting, methods=until(lambda: stopped() or halt.is_set(), setting.methods))

    def work(name: str, study: Study) -> list[Finding]:
        units = StoredUnits(out, name, belongs_to, lambda: stopped() or halt.is_set(), shares.advanced)
        try:
            return study(setting, units)
        except BaseException as error:
            halt.set()
            if isinstance(error, CxrError):
                if stopped():  # Ctrl-C also ends programs under test, which is not a failure
                    raise LabStopped from error
            elif units.found and isinstance(error, FORGED):
                place = out / UNITS / name
                raise ImageError(f"{place}: holds other arrays than that study stores; remove it") from error
            raise

    def together() -> list[Future[list[Finding]]]:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            return [pool.submit(work, name, study) for name, study in studies.items()]

    return _joined(attempt(together, end=halt.set))


def _joined(ended: Sequence[Future[list[Finding]]]) -> list[Finding]:
    """Return the findings of finished studies. Raises the original error rather than the stops it caused."""
    errors = [error for future in ended if (error := future.exception()) is not None]
    for error in (*(error for error in errors if not isinstance(error, LabStopped)), *errors):
        raise error
    findings = [finding for future in ended for finding in future.result()]
    keys = [finding.key for finding in findings]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"two findings have the key {key!r}")
    return findings
