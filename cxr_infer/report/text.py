"""Text that came from a file or its name, made fit for a terminal, and the line that tells an error."""

from __future__ import annotations

import unicodedata

import typer

from cxr_infer.faults import LOG, ON_STDERR_ANYWAY

# control characters move the cursor and colour the screen; format characters reverse what is read; surrogates are bytes
# of a name that is no text
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """The same on one line, with every character that is not seen as itself escaped as in Python: `\\n`, `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in UNPRINTABLE else character
        for character in text
    )


def print_error(text: str) -> None:
    """One line on stderr, whatever line breaks the text has. It is in the log as well."""
    LOG.error("%s", text, extra={ON_STDERR_ANYWAY: True})
    typer.echo("error: " + printable(" ".join(text.split())), err=True)
