"""The names of the files in which runs, shards and workers record their results in an output directory."""

from __future__ import annotations

from fnmatch import fnmatchcase

from cxr_infer.storage.shard import Shard

LEDGER = ".cxr-infer.jsonl"
RECORD_FILES = ".cxr-infer*.jsonl"


def is_record_file(name: str) -> bool:
    """Whether a run records results under that name, on some disk."""
    return fnmatchcase(name.casefold(), RECORD_FILES)


def record_file(shard: Shard | None) -> str:
    """The name of the file in which a run records its results."""
    return LEDGER if shard is None else f".cxr-infer.{shard.label}.jsonl"


def worker_file(label: str, run: str, worker: str) -> str:
    """The name of the file in which a worker of a run records its results."""
    return f".cxr-infer.{label}{run}-{worker}.jsonl"
