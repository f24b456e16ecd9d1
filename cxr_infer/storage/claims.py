"""Record which input each result belongs to, so that two inputs never silently share an output file."""

from __future__ import annotations

import os
import secrets
import unicodedata

from cxr_infer.folder import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Folder
from cxr_infer.scratch import ScratchTable, as_key, from_key

COMPOSED, DECOMPOSED = (os.fsdecode(text.encode()) for text in ("\u00e9", "e\u0301"))


class Claims(ScratchTable):
    """Claimed names and written files, each with the input that claimed it."""

    def __init__(self) -> None:
        super().__init__("the list of results", "(thing BLOB PRIMARY KEY, name BLOB) WITHOUT ROWID")

    def claim(self, thing: str, name: str) -> str:
        """Claim `thing` for an input, and return the input that claimed it first."""
        with self._table() as table:
            if table.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (as_key(thing), as_key(name))).rowcount:
                return name
        return self.holder(thing) or name

    def give(self, thing: str, name: str) -> None:
        """Assign `thing` to an input, even if another held it."""
        with self._table() as table:
            table.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (as_key(thing), as_key(name)))

    def holder(self, thing: str) -> str | None:
        with self._table() as table:
            found = table.execute("SELECT name FROM entries WHERE thing = ?", (as_key(thing),)).fetchone()
        return from_key(found[0]) if found else None


def folded(name: str) -> str:
    """Return a key that is equal for names that some file systems treat as the same file.

    They ignore case, Unicode composition, and trailing dots and spaces.
    """
    parts = (part.rstrip(" .") or part for part in name.split("/"))
    return unicodedata.normalize("NFC", "/".join(parts)).casefold()


def folds_names(folder: Folder, label: str) -> bool:
    """Probe whether the file system treats names that differ only in case or Unicode composition as the same file.

    label: prefix of this shard's temporary names.
    """
    probe = f"{TEMPORARY_PREFIX}{label}{secrets.token_hex(8)}-{COMPOSED}{TEMPORARY_SUFFIX}"
    try:
        os.close(folder.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError:  # disk full, or such letters not allowed; written files are checked again anyway
        return False
    others = (probe.upper(), probe.replace(COMPOSED, DECOMPOSED))
    folds = any(folder.look(other) is not None for other in others)
    folder.remove(probe)
    return folds
