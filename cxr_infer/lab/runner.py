"""Runs the studies of a protocol: each unit of work is stored at once, so that a stopped run goes on where it was.

Studies are independent of each other and run side by side, one a core; units of one study run in turn. A stored unit
belongs to one protocol and one set of images by their hashes, and by its key to one method (`Setting.key_of`): a
changed network computes anew, and of a further method nothing but its own units.
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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import CxrError, ImageError
from cxr_infer.files import open_plain, write_bytes
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.stopping import Stopped as Stopped
from cxr_infer.lab.stopping import until
from cxr_infer.lab.studies import Arrays, Setting, Study
from cxr_infer.model.attempts import attempt

UNITS = "units"  # folder of a result that holds them
LABEL = "unit"  # array of a stored unit that says what it is
FORMAT = 2  # of stored units and what they are keyed by; it rises when a study means something else by one


@dataclass(frozen=True)
class Progress:
    """How far a run is. share: of all studies, 0 to 1. study: whose unit was finished last; done and units: its own."""

    share: float
    study: str
    done: int
    units: int


def identity(facts: Mapping[str, object]) -> str:
    """SHA-256, hexadecimal, of what units depend on beside their method: protocol, images, version of the lab."""
    return hashlib.sha256(json.dumps({**facts, "format": FORMAT}, sort_keys=True).encode()).hexdigest()


class StoredUnits:
    """`Work` of one study: what a unit gave is read from the folder, or computed and written there whole.

    stopped: asked before each unit is computed. advanced: told after each. Keys may be asked for once only.
    """

    def __init__(
        self,
        folder: Path,
        study: str,
        belongs_to: str,
        stopped: Callable[[], bool],
        advanced: Callable[[str, int, int], None],
    ) -> None:
        self._folder, self._study, self._belongs_to = folder, study, belongs_to
        self._stopped, self._advanced = stopped, advanced
        self._units = self._done = 0
        self._keys: set[str] = set()

    def expect(self, units: int) -> None:
        self._units += units
        self._advanced(self._study, self._done, self._units)

    def unit(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """Raises Stopped, ImageError where it cannot be stored, and ValueError for a key that was asked for before."""
        if key in self._keys:
            raise ValueError(f"study {self._study} has two units {key!r}")
        self._keys.add(key)
        label = json.dumps([self._study, key, self._belongs_to])
        path = self._folder / self._study / f"{hashlib.sha256(label.encode()).hexdigest()[:32]}.npz"
        arrays = _stored(path, label)
        if arrays is None:
            if self._stopped():
                raise Stopped
            computed = {name: np.asarray(array) for name, array in compute().items()}
            write_bytes(path, _encoded(computed, label))
            arrays = computed
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


def _stored(path: Path, label: str) -> dict[str, NDArray[Any]] | None:
    """The arrays of a unit; None where it is not there, or is damaged, and so is computed anew."""
    try:
        with open_plain(path) as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, ImageError):
        return None
    found = arrays.pop(LABEL, None)
    return arrays if found is not None and str(found) == label else None


class _Shares:
    """Joins what studies say of their units into one share of the whole; told from several threads."""

    def __init__(self, studies: int, seen: Callable[[Progress], None]) -> None:
        self._studies, self._seen = studies, seen
        self._lock = threading.Lock()
        self._of: dict[str, float] = {}

    def advanced(self, study: str, done: int, units: int) -> None:
        with self._lock:
            self._of[study] = done / units if units else 0.0
            self._seen(Progress(sum(self._of.values()) / self._studies, study, done, units))


def run_studies(
    studies: Mapping[str, Study],
    setting: Setting,
    out: Path,
    belongs_to: str,
    *,
    stopped: Callable[[], bool],
    seen: Callable[[Progress], None],
    workers: int,
) -> list[Finding]:
    """The findings of all studies, in their order.

    out: folder of the result; units are stored below it. belongs_to: `identity` of what they depend on. stopped: asked
    between units and before each image. seen: told of progress, by one thread at a time. workers: studies at a time.
    Raises Stopped, CxrError as the studies do, ValueError where two findings have one key.
    """
    halt = threading.Event()  # one study failed, or nobody waits any more
    shares = _Shares(len(studies), seen)
    setting = replace(setting, methods=until(lambda: stopped() or halt.is_set(), setting.methods))

    def work(name: str, study: Study) -> list[Finding]:
        units = StoredUnits(out / UNITS, name, belongs_to, lambda: stopped() or halt.is_set(), shares.advanced)
        try:
            return study(setting, units)
        except BaseException as error:
            halt.set()
            if isinstance(error, CxrError) and stopped():  # Ctrl-C ends programs under test too: that is no failure
                raise Stopped from error
            raise

    def together() -> list[Future[list[Finding]]]:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            return [pool.submit(work, name, study) for name, study in studies.items()]

    return _joined(attempt(together, end=halt.set))


def _joined(ended: Sequence[Future[list[Finding]]]) -> list[Finding]:
    """The findings of studies that have ended. Raises what made one of them end, rather than that others stopped."""
    errors = [error for future in ended if (error := future.exception()) is not None]
    for error in (*(error for error in errors if not isinstance(error, Stopped)), *errors):
        raise error
    findings = [finding for future in ended for finding in future.result()]
    keys = [finding.key for finding in findings]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"two findings have the key {key!r}")
    return findings
