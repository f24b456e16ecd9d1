"""Which input each result is of: two that lead to one file would silently be one."""

from __future__ import annotations

import os
import secrets
import unicodedata

from cxr_infer.folder import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Folder
from cxr_infer.storage.scratch import ScratchTable, as_key, from_key

COMPOSED, DECOMPOSED = (os.fsdecode(text.encode()) for text in ("\u00e9", "e\u0301"))


class Claims(ScratchTable):
    """What is claimed, be it a name or a file that was written, and by which input."""

    def __init__(self) -> None:
        super().__init__("the list of results", "(thing BLOB PRIMARY KEY, name BLOB) WITHOUT ROWID")

    def claim(self, thing: str, name: str) -> str:
        """The first input that claimed it, which may be this one."""
        with self._table() as table:
            if table.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (as_key(thing), as_key(name))).rowcount:
                return name
        return self.holder(thing) or name

    def give(self, thing: str, name: str) -> None:
        """To this input, whoever had it before."""
        with self._table() as table:
            table.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (as_key(thing), as_key(name)))

    def holder(self, thing: str) -> str | None:
        with self._table() as table:
            found = table.execute("SELECT name FROM entries WHERE thing = ?", (as_key(thing),)).fetchone()
        return from_key(found[0]) if found else None


def folded(name: str) -> str:
    """The same for names that are one file on some disk: case and composition do not count there, nor final dots."""
    parts = (part.rstrip(" .") or part for part in name.split("/"))
    return unicodedata.normalize("NFC", "/".join(parts)).casefold()


def folds_names(folder: Folder, label: str) -> bool:
    """Whether names that differ only in case or in composition are one file there: a file with such a name tells.

    label: of temporary names of this run.
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
