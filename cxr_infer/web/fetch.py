"""The runtime of the page from npm's registry, for who has no npm. Nothing is fetched unless that is asked for."""

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
TIMEOUT = 60.0  # s without an answer
MOST_ARCHIVE = 100_000_000  # bytes; it has 33 million


def archive_url(runtime: Runtime) -> str:
    """Where npm's registry has the archive that `npm pack` would fetch. Raises UsageError where no URL is set."""
    registry = os.environ.get(REGISTRY_VARIABLE, REGISTRY).rstrip("/")
    if not registry.startswith(("https://", "http://")):
        raise UsageError(
            f"{REGISTRY_VARIABLE} {registry!r} is not a URL; unset it or set it to one of npm's registries"
        )
    return f"{registry}/{runtime.package}/-/{runtime.archive}"


def fetch_runtime(runtime: Runtime, here: Path) -> Path:
    """Fetch npm's archive into a directory, where `npm pack` leaves it, once its files have the hashes that they must.

    Raises UsageError where it cannot be had, is not that, or cannot be written.
    """
    url, path = archive_url(runtime), here / runtime.archive
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            content = answer.read(MOST_ARCHIVE + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason: object = error
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer too, with its socket
        elif isinstance(error, urllib.error.URLError):
            reason = error.reason
        raise UsageError(f"{url}: cannot be fetched: {reason}; check the network, or use `npm pack`") from error
    if len(content) > MOST_ARCHIVE:
        raise UsageError(f"{url}: is more than {MOST_ARCHIVE} bytes, which no {runtime.package} is")
    read_archive(content, runtime, url)
    try:
        write_bytes(path, (content,))
    except ImageError as error:
        raise UsageError(str(error)) from error
    return path
