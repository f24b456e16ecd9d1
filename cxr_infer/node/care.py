"""Maintain a spool: show its state, retry what failed, remove what is no longer wanted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from cxr_infer.errors import UsageError
from cxr_infer.node.records import DENOISED, FAILED, RECEIVED, SENT, STATES, STORED, WAITING
from cxr_infer.node.spool import Spool, derived_name

MOST_SHOWN = 1000


def sweep(spool: Spool) -> int:
    """Remove files without a row: arrivals that were never acknowledged, and instances already sent.

    Call it before anything arrives. Returns the number of files removed.
    """
    with spool.transaction() as db:
        rows = db.execute("SELECT file FROM instances WHERE state != ? OR ?", (SENT, spool.keeps))
        needed = {name for (file,) in rows for name in (file, derived_name(file))}
    loose = [path for path in spool.files.iterdir() if path.name not in needed]
    for path in loose:
        path.unlink(missing_ok=True)
    return len(loose)


def expire(spool: Spool, remember: float, keep: float) -> None:
    """Forget instances sent more than `remember` seconds ago, and remove their files after `keep`; unsent ones stay."""
    now = time.time()
    aged = "FROM instances WHERE state = ? AND finished < ?"
    with spool.transaction() as db:
        old = db.execute(f"SELECT file {aged}", (SENT, now - min(keep, remember))).fetchall()
        db.execute(f"DELETE FROM deliveries WHERE instance IN (SELECT id {aged})", (SENT, now - remember))
        db.execute(f"DELETE {aged}", (SENT, now - remember))
    if spool.keeps:
        spool.remove(file for (file,) in old)


def counts(spool: Spool) -> dict[str, Any]:
    """Count instances by state and waiting files by destination, with the unsent bytes and the age of the oldest."""
    states = dict.fromkeys(STATES, 0) | dict(spool.query("SELECT state, count(*) FROM instances GROUP BY state"))
    waiting: dict[str, int] = dict(
        spool.query(
            "SELECT destination, count(*) FROM deliveries WHERE state IN (?, ?) GROUP BY destination", (WAITING, STORED)
        )
    )
    ((oldest, size),) = spool.query(
        "SELECT min(received), coalesce(sum(bytes), 0) FROM instances WHERE state IN (?, ?)", (RECEIVED, DENOISED)
    )
    return {
        "instances": states,
        "waiting": waiting,
        "unsent_bytes": size,
        "oldest_unsent_seconds": 0.0 if oldest is None else max(0.0, time.time() - oldest),
    }


def problems(spool: Spool) -> list[dict[str, Any]]:
    """List what failed or awaits another attempt, with reasons; UIDs only."""
    found = spool.query(
        "SELECT i.uid, i.state, coalesce(d.destination, ''), coalesce(d.kind, ''), max(coalesce(d.attempts, 0),"
        " i.attempts), CASE WHEN coalesce(d.reason, '') = '' THEN i.reason ELSE d.reason END FROM instances i LEFT JOIN"
        " deliveries d ON d.instance = i.id AND d.state != ? WHERE i.state = ? OR (i.state IN (?, ?) AND"
        " coalesce(d.reason, i.reason) != '') ORDER BY i.id LIMIT ?",
        (SENT, FAILED, RECEIVED, DENOISED, MOST_SHOWN),
    )
    keys = ("uid", "state", "destination", "kind", "attempts", "reason")
    return [dict(zip(keys, row, strict=True)) for row in found]


def not_taken(spool: Spool) -> list[dict[str, str]]:
    """List the files of the watched folder that were not taken or not moved, with reasons."""
    found = spool.query("SELECT name, reason FROM folder_files WHERE reason != '' ORDER BY name LIMIT ?", (MOST_SHOWN,))
    return [{"file": os.fsdecode(name), "reason": reason} for name, reason in found]


def retry(spool: Spool, uids: Sequence[str]) -> int:
    """Take instances out of quarantine, all of them if none is named. Returns their number. Raises UsageError."""
    chosen = _chosen(spool, uids, (FAILED,), FAILED)
    for id in chosen:
        spool.retry(id)
    return len(chosen)


def purge(spool: Spool, uids: Sequence[str]) -> int:
    """Remove instances from quarantine by their UIDs; without any, forget sent ones. Returns their number.

    Instances neither sent nor failed are never removed. Raises UsageError for the UID of any other instance.
    """
    chosen = _chosen(spool, uids, (FAILED, SENT), SENT)
    with spool.transaction() as db:
        files = [db.execute("SELECT file FROM instances WHERE id = ?", (id,)).fetchone()[0] for id in chosen]
        db.executemany("DELETE FROM deliveries WHERE instance = ?", [(id,) for id in chosen])
        db.executemany("DELETE FROM instances WHERE id = ?", [(id,) for id in chosen])
    spool.remove(files)
    return len(chosen)


def _chosen(spool: Spool, uids: Sequence[str], allowed: Sequence[str], default: str) -> list[int]:
    if not uids:
        return [id for (id,) in spool.query("SELECT id FROM instances WHERE state = ?", (default,))]
    found: list[int] = []
    for uid in uids:
        rows = spool.query("SELECT id, state FROM instances WHERE uid = ?", (uid,))
        fit = [id for id, state in rows if state in allowed]
        if not fit:
            state = f"is {rows[0][1]}" if rows else "is not in this spool"
            raise UsageError(f"{uid}: {state}; `cxr-infer node status` lists failed instances")
        found += fit
    return found
