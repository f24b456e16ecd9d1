"""Open a directory or bucket given by the user."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from cxr_infer.errors import UsageError
from cxr_infer.folder import is_link_at
from cxr_infer.storage.protocols import Storage
from cxr_infer.storage.urls import scheme_of


def open_storage(location: str, *, follow_links: bool = False) -> Storage:
    """Open a plain path or file:// as a directory, any other URL as a bucket. Raises UsageError for anything else."""
    scheme = scheme_of(location)
    if scheme is not None and scheme != "file":
        from cxr_infer.storage.bucket import open_bucket

        return open_bucket(location, scheme)
    from cxr_infer.storage.directory import Directory

    return Directory(_local(location), follow_links)


def default_output(source: str) -> str:
    """Return `IN-denoised`, next to IN. Raises UsageError if that is a link; only explicit links are followed."""
    scheme = scheme_of(source)
    if scheme not in (None, "file"):
        return f"{source.rstrip('/')}-denoised"
    resolved = _local(source).resolve()
    output = resolved.with_name(f"{resolved.name}-denoised")
    if is_link_at(output):
        raise UsageError(f"{output}: is a link; set --out to the directory for results")
    return str(output)


def _local(location: str) -> Path:
    """Return the path of a plain path or file:// URL."""
    return Path(location if scheme_of(location) is None else url2pathname(urlsplit(location).path))
