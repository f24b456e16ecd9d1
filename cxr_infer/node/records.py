"""The records of a spool: instances with their states, and their deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

RECEIVED, DENOISED, SENT, FAILED = "received", "denoised", "sent", "failed"
WAITING, STORED = "waiting", "stored"  # states of a delivery; stored: acknowledged, but not yet committed
STATES = (RECEIVED, DENOISED, SENT, FAILED)

SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL, digest BLOB NOT NULL, file TEXT NOT NULL, class_uid TEXT NOT NULL,
  syntax TEXT NOT NULL, bytes INTEGER NOT NULL, calling TEXT NOT NULL, called TEXT NOT NULL, received REAL NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL
  DEFAULT '', derived_uid TEXT, finished REAL, UNIQUE (uid, digest));
CREATE INDEX IF NOT EXISTS by_state ON instances (state, next_at);
CREATE TABLE IF NOT EXISTS deliveries (
  id INTEGER PRIMARY KEY, instance INTEGER NOT NULL REFERENCES instances (id), kind TEXT NOT NULL,
  destination TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  next_at REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', transaction_uid TEXT,
  UNIQUE (instance, kind, destination));
CREATE INDEX IF NOT EXISTS by_destination ON deliveries (destination, state, next_at);
CREATE INDEX IF NOT EXISTS by_instance ON deliveries (instance);
CREATE TABLE IF NOT EXISTS folder_files (
  name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, changed INTEGER NOT NULL, inode INTEGER NOT NULL,
  reason TEXT NOT NULL) WITHOUT ROWID;
"""


class Receipt(Enum):
    """The result of storing an arrived instance."""

    NEW = "received"
    DUPLICATE = "duplicate"
    AGAIN = "taken out of quarantine"


@dataclass(frozen=True)
class Arrival:
    """What a sender says about an instance. calling, called: AE titles."""

    uid: str
    class_uid: str
    syntax: str
    calling: str = ""
    called: str = ""


@dataclass(frozen=True)
class QueuedInstance:
    """An instance to be denoised. attempts: including this one."""

    id: int
    uid: str
    calling: str
    called: str
    received: float
    attempts: int
    path: Path
    derived_path: Path


@dataclass(frozen=True)
class Delivery:
    """One file for one destination. kind: `original` or `derived`. uid: of the file; source: of the original."""

    id: int
    uid: str
    source: str
    class_uid: str
    kind: str
    destination: str
    attempts: int
    received: float
    path: Path
