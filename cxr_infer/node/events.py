"""Record what happens to instances in the audit file, the log and the metrics. UIDs only."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG = logging.getLogger(__name__)

SECONDS_AN_HOUR = 3600.0
AUDIT_BYTES, AUDIT_FILES = 10_000_000, 10  # per file, and number of older files kept
TROUBLE = frozenset({"refused", "stranger", "full", "quarantined", "put off", "worker ended"})


class Events:
    """Writes an audit line in JSON for each step, and counts. Safe to call from any thread."""

    def __init__(self, audit: Path | None) -> None:
        self.counters: Counter[tuple[str, str]] = Counter()  # (event, destination)
        self.seconds = 0.0  # spent denoising
        self._lock = threading.Lock()
        self._audit: RotatingFileHandler | None = None
        if audit is not None:
            self._audit = RotatingFileHandler(audit, maxBytes=AUDIT_BYTES, backupCount=AUDIT_FILES, encoding="utf-8")
            self._audit.setFormatter(logging.Formatter("%(message)s"))
            self._audit.handleError = _passed_over  # type: ignore[method-assign]  # a full disk must not stop instances

    def tell(self, event: str, *, destination: str = "", milliseconds: float | None = None, **facts: object) -> None:
        """Record an event. facts: UIDs, states and reasons, never attributes of a patient."""
        with self._lock:
            self.counters[event, destination] += 1
            if event == "denoised":
                self.seconds += (milliseconds or 0.0) / 1e3
        record: dict[str, object] = {"time": _now(), "event": event}
        record |= {"destination": destination} if destination else {}
        record |= {} if milliseconds is None else {"milliseconds": round(milliseconds, 1)}
        record |= {key: value for key, value in facts.items() if value not in ("", None)}
        line = json.dumps(record)
        LOG.log(logging.WARNING if event in TROUBLE else logging.INFO, "%s", line)
        if self._audit is not None:
            self._audit.emit(logging.makeLogRecord({"msg": "%s", "args": (line,)}))

    @property
    def denoised_per_hour(self) -> float:
        """Instances per hour that this machine can denoise, measured in this run; 0 before the first."""
        count = self.counters["denoised", ""]
        return round(SECONDS_AN_HOUR * count / self.seconds, 1) if self.seconds else 0.0

    def close(self) -> None:
        if self._audit is not None:
            self._audit.close()


def _now() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"


def _passed_over(record: logging.LogRecord) -> None:
    """Do nothing: a failing audit must not affect instances."""
