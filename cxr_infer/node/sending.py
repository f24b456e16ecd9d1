"""One thread per destination: it sends waiting files in order, and retries until they are acknowledged."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Sequence

from cxr_infer.errors import UsageError
from cxr_infer.faults import fault_line
from cxr_infer.node.config import Config, Destination
from cxr_infer.node.dimse_client import DownError, OpenAssociation, Send, line_to, new_transaction
from cxr_infer.node.events import Events
from cxr_infer.node.outcome import Fate, Outcome
from cxr_infer.node.records import Delivery
from cxr_infer.node.spool import Spool
from cxr_infer.node.stow import post

MOST = 100  # files per association
POLL = 1.0  # s between looks without being woken
LINGER = 1.0  # s that an association stays open for the answer to a commitment request
ASK_AGAIN = 600.0  # s before asking again for the commitment of a stored instance
SECONDS_A_DAY = 86400.0


class Sender:
    """Sends to one destination until stopped; the current instance is finished."""

    def __init__(self, config: Config, destination: Destination, spool: Spool, events: Events) -> None:
        self.destination = destination
        self.wake = threading.Event()
        self.down = ""  # why the destination is unreachable, for the health page
        self._config, self._spool, self._events = config, spool, events
        self._stopping = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"send to {destination.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self.wake.set()

    def join(self, seconds: float) -> None:
        if self._thread.ident is not None:  # started
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.wake.clear()
            wait = POLL
            try:
                due = self._spool.due(self.destination.name, MOST)
                unconfirmed = self._spool.unconfirmed(self.destination.name, MOST)
                if due or unconfirmed:
                    self._send(due, unconfirmed)
                    wait = 0.0
                self._failures, self.down = 0, ""
            except (DownError, UsageError) as error:
                wait = self._backed_off(str(error))
            except Exception as error:  # of a library or the disk; the files are still there
                wait = self._backed_off(fault_line(error))
            if wait:
                self._sleep(wait)

    def _sleep(self, seconds: float) -> None:
        """Wait that long, or until something new arrives; a destination that is down is left alone."""
        if self.down:
            self._stopping.wait(seconds)
        else:
            self.wake.wait(seconds)

    def _backed_off(self, reason: str) -> float:
        """Return the time to wait after failures in a row, s: doubled each time, with 20% jitter."""
        limits = self._config.limits
        wait = min(limits.retry_seconds * 2.0 ** min(self._failures, 30), limits.longest_wait)
        self._failures += 1
        if reason != self.down:
            self._events.tell("down", destination=self.destination.name, reason=reason)
        self.down = reason
        self._give_up(reason)
        return wait * random.uniform(0.8, 1.2)

    def _give_up(self, reason: str) -> None:
        """Quarantine instances that have waited too long."""
        oldest = time.time() - self._config.limits.give_up_days * SECONDS_A_DAY
        waiting = self._spool.due(self.destination.name, MOST, ahead=self._config.limits.longest_wait)
        late = [each for each in waiting if each.received < oldest]
        if late:
            self._refuse(late, f"not sent within {self._config.limits.give_up_days:g} days: {reason}")

    def _refuse(self, deliveries: Sequence[Delivery], reason: str) -> None:
        told = f"{self.destination.name}: {reason}"
        self._spool.refuse(deliveries, told)
        for each in deliveries:
            self._tell("quarantined", each, reason=told)

    def _tell(self, event: str, delivery: Delivery, milliseconds: float | None = None, reason: str = "") -> None:
        self._events.tell(
            event,
            destination=self.destination.name,
            milliseconds=milliseconds,
            uid=delivery.uid,
            source=delivery.source if delivery.source != delivery.uid else "",
            kind=delivery.kind,
            reason=reason,
        )

    def _send(self, due: Sequence[Delivery], unconfirmed: Sequence[Delivery]) -> None:
        """Send what is due. Raises DownError if the destination is down, after recording what was sent before."""
        with self._line(due or unconfirmed) as (send, line):
            taken = []
            for delivery in due:
                if self._stopping.is_set():
                    break
                if not delivery.path.exists():  # removed by someone else
                    self._refuse([delivery], "file missing from the spool")
                    continue
                started = time.perf_counter()
                outcome = send(delivery)
                if outcome.fate is Fate.ACKNOWLEDGED:
                    taken.append(delivery)
                    if line is None or not line.commits:
                        self._spool.sent([delivery])
                    self._tell("sent", delivery, (time.perf_counter() - started) * 1e3)
                else:
                    self._failed(delivery, outcome)
                if outcome.fate is Fate.DOWN:
                    self._spool.stored(taken if line is not None and line.commits else [], new_transaction(), 0.0)
                    raise DownError(outcome.reason)
            if line is not None:
                self._commit(line, taken if line.commits else [], unconfirmed)

    @contextlib.contextmanager
    def _line(self, deliveries: Sequence[Delivery]) -> Iterator[tuple[Send, OpenAssociation | None]]:
        if self.destination.url:
            yield (lambda delivery: post(self.destination, delivery)), None
            return
        title = self._config.receive.ae_title
        with line_to(self.destination, title, deliveries, self._spool, self._events) as line:
            yield line.send, line

    def _failed(self, delivery: Delivery, outcome: Outcome) -> None:
        """Schedule another attempt; a refusal counts as an attempt, a destination that is down does not."""
        limits = self._config.limits
        refused = outcome.fate is Fate.REFUSED
        if refused and delivery.attempts + 1 >= limits.attempts:
            self._refuse([delivery], outcome.reason)
            return
        wait = min(limits.retry_seconds * 2.0 ** min(delivery.attempts + 1, 30), limits.longest_wait)
        self._spool.put_off_delivery(delivery, outcome.reason, wait, counts=refused)
        self._tell("put off", delivery, reason=outcome.reason)

    def _commit(self, line: OpenAssociation, taken: Sequence[Delivery], unconfirmed: Sequence[Delivery]) -> None:
        """Request commitment for stored instances before they count as sent (PS3.4 Annex J)."""
        late = [each for each in unconfirmed if each.attempts < self._config.limits.attempts]
        given_up = [each for each in unconfirmed if each not in late]
        if given_up:
            self._refuse(given_up, "stored it, but did not commit to keeping it")
        asked = [*taken, *late]
        if not asked:
            return
        if not line.commits:  # no longer offered
            self._spool.sent(asked)
            return
        transaction = new_transaction()
        self._spool.stored(asked, transaction, ASK_AGAIN)
        if not line.ask_to_commit(asked, transaction):
            self._spool.sent(asked, "storage commitment was refused")
            self._events.tell("commitment refused", destination=self.destination.name, transaction=transaction)
            return
        end = time.monotonic() + LINGER
        while self._spool.is_open(transaction) and time.monotonic() < end:
            time.sleep(0.02)
