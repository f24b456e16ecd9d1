"""Schemes of URLs, and removal of credentials from URLs."""

from __future__ import annotations

import re

from cxr_infer.errors import UsageError

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
USER = re.compile(r"(://)(?:[^/\s]*|\S*:\S*)@")  # and password; a password may hold slashes
QUERY = re.compile(r"(://[^\s?\"']*)\?[^\s\"']*")


def scheme_of(location: str) -> str | None:
    """Return the scheme of a URL, such as `s3`, in lower case; None for a plain path."""
    found = URL.match(location)
    return found[1].lower() if found else None


def without_secrets(text: str) -> str:
    """Remove possible credentials from all URLs in a text: users, passwords and queries."""
    return QUERY.sub(r"\1", USER.sub(r"\1", text))


def refuse_secrets(location: str) -> None:
    """Raise UsageError for a URL with credentials, which other users of the machine could see."""
    if without_secrets(location) != location:
        raise UsageError(
            f"{without_secrets(location)}: a URL must not hold credentials or a query; "
            "give credentials in the environment or the store's own files"
        )
