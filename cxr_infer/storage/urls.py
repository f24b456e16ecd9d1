"""Places as URLs: of what kind, and without the credentials that they may hold."""

from __future__ import annotations

import re

from cxr_infer.errors import UsageError

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
USER = re.compile(r"(://)(?:[^/\s]*|\S*:\S*)@")  # and password; a password may hold slashes
QUERY = re.compile(r"(://[^\s?\"']*)\?[^\s\"']*")


def scheme_of(location: str) -> str | None:
    """`s3`, `file`, ...; None of a plain path."""
    found = URL.match(location)
    return found[1].lower() if found else None


def without_secrets(text: str) -> str:
    """A text whose URLs have lost what may be a credential: users, passwords and queries."""
    return QUERY.sub(r"\1", USER.sub(r"\1", text))


def refuse_secrets(location: str) -> None:
    """Raises UsageError for a URL that holds credentials, which other users of a machine can see."""
    if without_secrets(location) != location:
        raise UsageError(
            f"{without_secrets(location)}: a URL must not hold credentials or a query; "
            "give credentials in the environment or the store's own files"
        )
