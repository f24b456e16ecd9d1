"""Fetch the page's runtime from npm's registry, for users without npm, and only on request."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import write_bytes
from cxr_infer.web.server import Runtime, read_archive

REGISTRY = "https://registry.npmjs.org"
REGISTRY_VARIABLE = "npm_config_registry"  # npm's own, for mirrors
TIMEOUT = 60.0  # s to wait for data
MOST_ARCHIVE = 100_000_000  # bytes; the archive has 33 million


def archive_url(runtime: Runtime) -> str:
    """Return the URL that `npm pack` would fetch. Raises UsageError if the registry variable is not a URL."""
    registry = os.environ.get(REGISTRY_VARIABLE, REGISTRY).rstrip("/")
    if not registry.startswith(("https://", "http://")):
        raise UsageError(
            f"{REGISTRY_VARIABLE} {registry!r} is not a URL; unset it or set it to one of npm's registries"
        )
    return f"{registry}/{runtime.package}/-/{runtime.archive}"


def fetch_runtime(runtime: Runtime, here: Path) -> Path:
    """Fetch npm's archive into a folder, under the name `npm pack` uses, once its files match their hashes.

    Raises UsageError if it cannot be fetched, is not the right package, or cannot be written.
    """
    url, path = archive_url(runtime), here / runtime.archive
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            content = answer.read(MOST_ARCHIVE + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason: object = error
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is also the response and holds its socket
        elif isinstance(error, urllib.error.URLError):
            reason = error.reason
        raise UsageError(f"{url}: cannot be fetched: {reason}; check the network, or use `npm pack`") from error
    if len(content) > MOST_ARCHIVE:
        raise UsageError(f"{url}: more than {MOST_ARCHIVE} bytes, too large for {runtime.package}; use `npm pack`")
    read_archive(content, runtime, url)
    try:
        write_bytes(path, (content,))
    except ImageError as error:
        raise UsageError(str(error)) from error
    return path
