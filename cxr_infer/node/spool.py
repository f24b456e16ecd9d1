"""One durable queue in one directory: an instance stays on disk until every destination has acknowledged it.

`queue.sqlite` in WAL mode holds the states, `files/` the instances. A file is synced, then renamed into place, then its
row is committed with synchronous=FULL; only then is it acknowledged. So every row has its file; a file without a row
was never acknowledged, and `sweep` removes it.

    received ──> denoised ──> sent
        └──────────┴──> failed (quarantine, with the reason)
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cxr_infer.errors import UsageError
from cxr_infer.node.durable import write_synced
from cxr_infer.node.records import (
    DENOISED,
    FAILED,
    RECEIVED,
    SCHEMA,
    SENT,
    STORED,
    WAITING,
    Arrival,
    Delivery,
    QueuedInstance,
    Receipt,
)

BUSY_SECONDS = 60.0

Route = Callable[[Path], list[tuple[str, str]]]  # kinds of files, and destinations


def _nowhere(path: Path) -> list[tuple[str, str]]:
    return []


class Spool:
    """The queue. Threads and processes may use it concurrently; only one node may work on it, see `held`."""

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        """keeps: whether files stay after they were sent, until `expire`.

        Raises UsageError if the directory cannot be used.
        """
        self.folder, self.files, self.keeps = folder, folder / "files", keeps
        self._lock = threading.RLock()
        try:
            self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            self._db = sqlite3.connect(
                folder / "queue.sqlite", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{folder}: cannot be used as spool: {reason}; give another --spool") from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # in

    def add(self, arrival: Arrival, parts: Sequence[bytes | memoryview], at_once: Route = _nowhere) -> Receipt:
        """Store an instance. Once this returns, it survives a crash of process and machine.

        parts: of its file, the data set last. at_once: returns where the original may go before its result exists,
        given its file. Raises OSError or sqlite3.Error if it could not be stored safely.
        """
        digest = hashlib.sha256(parts[-1]).digest()
        told = self._known(arrival, digest, parts)
        if told is not None:
            return told
        path = self.files / f"{uuid.uuid4().hex}.dcm"
        write_synced(path, parts)
        size = sum(map(len, parts))
        row = (arrival.uid, digest, path.name, arrival.class_uid, arrival.syntax, size, arrival.calling, arrival.called)
        try:
            deliveries = at_once(path)
            with self.transaction() as db:
                cursor = db.execute(
                    "INSERT INTO instances (uid, digest, file, class_uid, syntax, bytes, calling, called, received,"
                    " state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*row, time.time(), RECEIVED),
                )
                _deliver(db, cursor.lastrowid, deliveries)
        except sqlite3.IntegrityError:  # the same instance arrived over another association
            path.unlink()
            return Receipt.DUPLICATE
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Receipt.NEW

    def _known(self, arrival: Arrival, digest: bytes, parts: Sequence[bytes | memoryview]) -> Receipt | None:
        with self.transaction() as db:
            found = db.execute(
                "SELECT id, state, file FROM instances WHERE uid = ? AND digest = ?", (arrival.uid, digest)
            ).fetchone()
            if found is None:
                return None
            path = self.files / found[2]
            if (
                found[1] != SENT and not path.exists()
            ):  # lost by the disk or a person; an acknowledged instance must exist
                write_synced(path, parts)
            if found[1] != FAILED:
                return Receipt.DUPLICATE
            take_again(db, found[0])
            return Receipt.AGAIN

    # work

    def begin(self) -> QueuedInstance | None:
        """Return the next instance to denoise. The attempt is recorded on disk first, because it may crash this
        process.
        """
        with self.transaction() as db:
            found = db.execute(
                "SELECT id, uid, calling, called, received, attempts, file FROM instances"
                " WHERE state = ? AND next_at <= ? ORDER BY id LIMIT 1",
                (RECEIVED, time.time()),
            ).fetchone()
            if found is None:
                return None
            db.execute("UPDATE instances SET attempts = attempts + 1 WHERE id = ?", (found[0],))
        id, uid, calling, called, received, attempts, file = found
        path, derived = self.files / file, self.files / derived_name(file)
        return QueuedInstance(id, uid, calling, called, received, attempts + 1, path, derived)

    def put_off(self, work: QueuedInstance, reason: str, seconds: float, *, counts: bool = True) -> None:
        """Schedule another attempt. counts: whether this one counts against the instance."""
        with self.transaction() as db:
            db.execute(
                "UPDATE instances SET reason = ?, next_at = ?, attempts = attempts - ? WHERE id = ?",
                (reason, time.time() + seconds, 0 if counts else 1, work.id),
            )

    def quarantine(self, work: QueuedInstance, reason: str) -> None:
        with self.transaction() as db:
            db.execute("UPDATE instances SET state = ?, reason = ? WHERE id = ?", (FAILED, reason, work.id))

    def denoised(
        self, work: QueuedInstance, result: tuple[str, bytes] | None, deliveries: Iterable[tuple[str, str]], reason: str
    ) -> None:
        """Record the result of an instance and its deliveries.

        result: UID and content of the derived instance, or None. reason: why there is none, or a note.
        Raises OSError if the result cannot be written.
        """
        if result is not None:
            write_synced(work.derived_path, (result[1],))
        with self.transaction() as db:
            db.execute(
                "UPDATE instances SET state = ?, derived_uid = ?, reason = ? WHERE id = ?",
                (DENOISED, None if result is None else result[0], reason, work.id),
            )
            _deliver(db, work.id, deliveries)
            gone = self._end(db, work.id)
        self.remove(gone)

    # out

    def due(self, destination: str, most: int, ahead: float = 0.0) -> list[Delivery]:
        """Return what is due for a destination now, or in `ahead` seconds, in order of arrival."""
        return self._deliveries("d.state = ? AND d.next_at <= ?", (WAITING, time.time() + ahead), destination, most)

    def unconfirmed(self, destination: str, most: int) -> list[Delivery]:
        """Return what a destination stored but has not committed to in time."""
        return self._deliveries("d.state = ? AND d.next_at <= ?", (STORED, time.time()), destination, most)

    def _deliveries(self, where: str, values: tuple[Any, ...], destination: str, most: int) -> list[Delivery]:
        with self._lock:
            found = self._db.execute(
                "SELECT d.id, i.uid, i.derived_uid, i.class_uid, d.kind, d.attempts, i.received, i.file"
                f" FROM deliveries d JOIN instances i ON i.id = d.instance WHERE d.destination = ? AND {where}"
                " ORDER BY d.id LIMIT ?",
                (destination, *values, most),
            ).fetchall()
        return [
            Delivery(
                id, derived or uid if kind == "derived" else uid, uid, class_uid, kind, destination, attempts, received,
                self.files / (derived_name(file) if kind == "derived" else file),
            )
            for id, uid, derived, class_uid, kind, attempts, received, file in found
        ]  # fmt: skip

    def stored(self, deliveries: Iterable[Delivery], transaction_uid: str, seconds: float) -> None:
        """A destination stored them; they count as sent once it commits. seconds: until it is asked again."""
        with self.transaction() as db:
            db.executemany(
                "UPDATE deliveries SET state = ?, transaction_uid = ?, next_at = ?, attempts = attempts + 1"
                " WHERE id = ?",
                [(STORED, transaction_uid, time.time() + seconds, each.id) for each in deliveries],
            )

    def sent(self, deliveries: Iterable[Delivery], reason: str = "") -> None:
        """A destination has acknowledged them. Instances sent everywhere leave the spool."""
        self._settle([each.id for each in deliveries], SENT, reason)

    def refuse(self, deliveries: Iterable[Delivery], reason: str) -> None:
        """Make no more attempts; quarantine them."""
        self._settle([each.id for each in deliveries], FAILED, reason)

    def put_off_delivery(self, delivery: Delivery, reason: str, seconds: float, *, counts: bool = True) -> None:
        with self.transaction() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, reason = ?, next_at = ?, attempts = attempts + ? WHERE id = ?",
                (WAITING, reason, time.time() + seconds, int(counts), delivery.id),
            )

    def report(self, transaction_uid: str, committed: set[str], refused: set[str]) -> int:
        """Apply a destination's report on a transaction (N-EVENT-REPORT). Returns the number of deliveries it ends."""
        with self.transaction() as db:
            found = db.execute(
                "SELECT d.id, CASE d.kind WHEN 'derived' THEN i.derived_uid ELSE i.uid END FROM deliveries d"
                " JOIN instances i ON i.id = d.instance WHERE d.transaction_uid = ? AND d.state = ?",
                (transaction_uid, STORED),
            ).fetchall()
            again = [id for id, uid in found if uid in refused]
            db.executemany(
                "UPDATE deliveries SET state = ?, reason = 'storage not committed; sent again', next_at = 0"
                " WHERE id = ?",
                [(WAITING, id) for id in again],
            )
        done = [id for id, uid in found if uid in committed - refused]
        self._settle(done, SENT, "")
        return len(done)

    def is_open(self, transaction_uid: str) -> bool:
        """Whether a destination has not yet reported on a transaction."""
        sql = "SELECT 1 FROM deliveries WHERE transaction_uid = ? AND state = ? LIMIT 1"
        return bool(self.query(sql, (transaction_uid, STORED)))

    def _settle(self, ids: list[int], state: str, reason: str) -> None:
        """End deliveries, and the instances without other pending ones; only then remove their files."""
        gone: list[str] = []
        with self.transaction() as db:
            for id in ids:
                db.execute("UPDATE deliveries SET state = ?, reason = ? WHERE id = ?", (state, reason, id))
                ((instance,),) = db.execute("SELECT instance FROM deliveries WHERE id = ?", (id,)).fetchall()
                gone += self._end(db, instance)
        self.remove(gone)

    def _end(self, db: sqlite3.Connection, instance: int) -> list[str]:
        """End an instance that is denoised and has no pending delivery. Returns the files that may be removed."""
        file, state = db.execute("SELECT file, state FROM instances WHERE id = ?", (instance,)).fetchone()
        states = dict(
            db.execute("SELECT state, max(reason) FROM deliveries WHERE instance = ? GROUP BY state", (instance,))
        )
        if state == RECEIVED or states.keys() & {WAITING, STORED}:
            return []
        ended = FAILED if FAILED in states else SENT
        db.execute(
            "UPDATE instances SET state = ?, finished = ?, reason = CASE ? WHEN '' THEN reason ELSE ? END WHERE id = ?",
            (ended, time.time(), states.get(FAILED, ""), states.get(FAILED, ""), instance),
        )
        return [file] if ended == SENT and not self.keeps else []

    def remove(self, files: Iterable[str]) -> None:
        for file in files:
            for name in (file, derived_name(file)):
                (self.files / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def unsent_bytes(self) -> int:
        """Bytes of instances not yet sent to all destinations."""
        states = "SELECT coalesce(sum(bytes), 0) FROM instances WHERE state IN (?, ?)"
        return int(self.query(states, (RECEIVED, DENOISED))[0][0])

    def retry(self, id: int) -> None:
        """Take an instance out of quarantine."""
        with self.transaction() as db:
            take_again(db, id)

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()


def _deliver(db: sqlite3.Connection, instance: int | None, deliveries: Iterable[tuple[str, str]]) -> None:
    """Add deliveries of an instance; existing ones stay unchanged."""
    db.executemany(
        "INSERT OR IGNORE INTO deliveries (instance, kind, destination, state) VALUES (?, ?, ?, ?)",
        [(instance, kind, destination, WAITING) for kind, destination in deliveries],
    )


def take_again(db: sqlite3.Connection, instance: int) -> None:
    """Take out of quarantine: send undelivered files again, or denoise the instance again."""
    waits = db.execute(
        "UPDATE deliveries SET state = ?, attempts = 0, next_at = 0 WHERE instance = ? AND state = ?",
        (WAITING, instance, FAILED),
    ).rowcount
    db.execute(
        "UPDATE instances SET state = ?, attempts = 0, next_at = 0, received = ? WHERE id = ?",
        (DENOISED if waits else RECEIVED, time.time(), instance),
    )


def derived_name(file: str) -> str:
    """Return the file name of a result, next to its original."""
    return file.removesuffix(".dcm") + ".derived.dcm"
