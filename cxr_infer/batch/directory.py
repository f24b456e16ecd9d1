"""Plan a run over a directory or bucket."""

from __future__ import annotations

from pathlib import Path

from cxr_infer.batch.jobs import Plan, make_plan, make_plan_to_watch
from cxr_infer.batch.references import require_references
from cxr_infer.errors import UsageError
from cxr_infer.files import require_directory
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.opening import default_output, open_storage
from cxr_infer.storage.shard import parse_shard


def plan_directory(
    source: str,
    out: str | None = None,
    *,
    reference: Path | None = None,
    follow_links: bool = False,
    shard: str | None = None,
    watch: bool = False,
) -> Plan:
    """List the X-rays of a directory or bucket, and check all paths of a run.

    source, out: paths or URLs; out: None for IN-denoised. reference: directory of clean images, at least one of them
    with a name in IN. shard: `I/N`. watch: return an empty plan.
    Raises UsageError for missing or invalid paths.
    """
    share = parse_shard(shard) if shard is not None else None
    originals = open_storage(source, follow_links=follow_links)
    results = open_storage(out if out is not None else default_output(source))
    if reference is not None:
        require_directory(reference, "give --reference the directory of the clean images")
        if isinstance(originals, Directory) and reference.resolve() == originals.place:
            raise UsageError(f"{reference}: is the input itself; give --reference the directory of the clean images")
    if watch and isinstance(originals, Directory):
        require_directory(originals.root, "--watch needs a directory")
    if watch:
        return make_plan_to_watch(originals, results, shard=share)
    plan = make_plan(originals, results, shard=share)
    if reference is not None and share is None:  # a small share may have none
        require_references(plan.names, reference)
    return plan
