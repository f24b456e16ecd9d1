"""Names of the record files of runs, shards and workers in an output directory."""

from __future__ import annotations

from fnmatch import fnmatchcase

from cxr_infer.storage.shard import Shard

LEDGER = ".cxr-infer.jsonl"
RECORD_FILES = ".cxr-infer*.jsonl"


def is_record_file(name: str) -> bool:
    """Whether this is the name of a record file, ignoring case as some file systems do."""
    return fnmatchcase(name.casefold(), RECORD_FILES)


def record_file(shard: Shard | None) -> str:
    """Return the name of a run's record file."""
    return LEDGER if shard is None else f".cxr-infer.{shard.label}.jsonl"


def worker_file(label: str, run: str, worker: str) -> str:
    """Return the name of the record file of one worker of a run."""
    return f".cxr-infer.{label}{run}-{worker}.jsonl"
