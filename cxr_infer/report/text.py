"""Make untrusted text, such as file names, safe for a terminal; count files in words; print errors."""

from __future__ import annotations

import unicodedata

import typer

from cxr_infer.faults import LOG, ON_STDERR_ANYWAY

# control characters move the cursor and change colours, format characters reverse the reading direction, and surrogates
# are bytes of names that are not valid text
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Return a text on one line, with unprintable characters escaped as in Python: `\\n`, `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in UNPRINTABLE else character
        for character in text
    )


def number_of_files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def print_error(text: str) -> None:
    """Print an error as one line to stderr, and log it."""
    LOG.error("%s", text, extra={ON_STDERR_ANYWAY: True})
    typer.echo("error: " + printable(" ".join(text.split())), err=True)
