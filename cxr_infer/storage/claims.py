"""Which input each result belongs to, so that two inputs never silently share one output file."""

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
        """Return the first input that claimed `thing`, possibly this one."""
        with self._table() as table:
            if table.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (as_key(thing), as_key(name))).rowcount:
                return name
        return self.holder(thing) or name

    def give(self, thing: str, name: str) -> None:
        """Assign `thing` to this input, whoever held it before."""
        with self._table() as table:
            table.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (as_key(thing), as_key(name)))

    def holder(self, thing: str) -> str | None:
        with self._table() as table:
            found = table.execute("SELECT name FROM entries WHERE thing = ?", (as_key(thing),)).fetchone()
        return from_key(found[0]) if found else None


def folded(name: str) -> str:
    """Return a key that is equal for names that some disk treats as one file.

    Such disks ignore case, Unicode composition and trailing dots and spaces.
    """
    parts = (part.rstrip(" .") or part for part in name.split("/"))
    return unicodedata.normalize("NFC", "/".join(parts)).casefold()


def folds_names(folder: Folder, label: str) -> bool:
    """Whether the disk treats names that differ only in case or Unicode composition as one file, by a probe file.

    label: the part of this run's temporary names that tells its shard.
    """
    probe = f"{TEMPORARY_PREFIX}{label}{secrets.token_hex(8)}-{COMPOSED}{TEMPORARY_SUFFIX}"
    try:
        os.close(folder.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError:  # a full disk, or one that takes no such letters; what was written is looked at as well
        return False
    others = (probe.upper(), probe.replace(COMPOSED, DECOMPOSED))
    folds = any(folder.look(other) is not None for other in others)
    folder.remove(probe)
    return folds
