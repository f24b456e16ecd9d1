"""Take instances into the spool, however they arrive; memory, room and rules are checked only here."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxr_infer.node.config import Config, Rule
from cxr_infer.node.dicom_file import storage_classes
from cxr_infer.node.events import Events
from cxr_infer.node.records import Arrival, Receipt
from cxr_infer.node.rules import at_once, routing_attributes, rule_for
from cxr_infer.node.spool import Spool


class Budget:
    """Limits the bytes of messages being received, over all connections."""

    def __init__(self, each: int, together: int) -> None:
        self.each, self.together = each, together
        self._held: dict[int, int] = {}
        self._lock = threading.Lock()

    def hold(self, who: int, size: int) -> bool:
        """Whether `who` may hold so many bytes; 0 releases all."""
        with self._lock:
            self._held[who] = size
            allowed = size <= self.each and sum(self._held.values()) <= self.together
            if not size or not allowed:
                del self._held[who]
            return allowed


class Intake:
    """The way into the spool. arrived: called after each stored instance. rules: returns the current rules."""

    def __init__(
        self,
        config: Config,
        spool: Spool,
        events: Events,
        arrived: Callable[[], None],
        rules: Callable[[], tuple[Rule, ...]],
    ) -> None:
        self.budget = Budget(config.receive.instance_mb << 20, config.receive.memory_mb << 20)
        self.classes = frozenset(map(str, storage_classes(config.node)))
        self._config, self._spool, self._events = config, spool, events
        self._arrived, self._rules = arrived, rules

    def take(self, arrival: Arrival, parts: Sequence[bytes | memoryview], way: str = "") -> Receipt | None:
        """Store an instance on disk and return its receipt; from then on it survives any crash.

        None if the spool has no room or the disk fails; nothing of the instance is kept then. parts: of its file, the
        data set last. way: for the audit, if it is not DIMSE.
        """
        problem = self._no_room(len(parts[-1]))
        if not problem:
            try:
                told = self._spool.add(arrival, parts, partial(self._at_once, arrival))
            except (OSError, sqlite3.Error) as error:
                problem = getattr(error, "strerror", None) or str(error)
            else:
                size = len(parts[-1])
                self._events.tell(told.value, uid=arrival.uid, calling=arrival.calling, way=way, bytes=size)
                self._arrived()
                return told
        self._events.tell("full", uid=arrival.uid, reason=problem)
        return None

    def _at_once(self, arrival: Arrival, path: Path) -> list[tuple[str, str]]:
        """Return where it goes before it is denoised. Deflated data are left to the denoising process."""
        if arrival.syntax == DeflatedExplicitVRLittleEndian:
            return []
        rule = rule_for(self._rules(), routing_attributes(path, arrival.called, arrival.calling))
        return at_once(self._config, rule)

    def _no_room(self, size: int) -> str:
        limits = self._config.limits
        if shutil.disk_usage(self._spool.folder).free < size + limits.reserve_mb * 1e6:
            return f"less than {limits.reserve_mb} MB free on the disk"
        if limits.spool_gb and self._spool.unsent_bytes() + size > limits.spool_gb * 1e9:
            return f"more than {limits.spool_gb:g} GB unsent in the spool"
        return ""
