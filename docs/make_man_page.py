"""Generate the man page docs/cxr-infer.1 from the commands: `python docs/make_man_page.py`.

The page is built from the options rather than from the help text, so it does not depend on the release of typer. A
test checks that it is up to date; the wheel installs it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from cxr_infer.cli.commands import EXAMPLES, PURPOSE, app

PAGE = Path(__file__).resolve().parent / "cxr-infer.1"
MARKUP = re.compile(r"\[/?dim\]")
EXIT_STATUS = {
    "0": "success",
    "1": "files failed, were not replaced or could not be measured, or a report could not be written",
    "2": "wrong usage, or an unusable model",
    "130": "interrupted",
    "143": "terminated",
}


def man_page() -> str:
    """Return the page as roff (man(7))."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield '.TH CXR\\-INFER 1 "" "cxr\\-infer" "User Commands"'
    yield from (".SH NAME", f"cxr\\-infer \\- {_escaped(PURPOSE.split('.')[0].lower())}")
    yield from (".SH SYNOPSIS", ".B cxr\\-infer", "COMMAND ... | PATH [OUT]")
    yield from (".SH DESCRIPTION", _escaped(PURPOSE))
    yield "Without a command, cxr\\-infer PATH runs dir for a directory and file for a file."
    yield from (".TP", ".B \\-V, \\-\\-version", "Print the version and exit.")
    yield from (".TP", ".B \\-h, \\-\\-help", "Show the help of cxr\\-infer, or of a command, and exit.")
    for command in app.registered_commands:
        yield from _command(command)
    yield ".SH EXIT STATUS"
    for status, meaning in EXIT_STATUS.items():
        yield from (".TP", f".B {status}", meaning)
    yield ".SH EXAMPLES"
    for line in MARKUP.sub("", EXAMPLES).split("\n\n")[1:]:
        yield from (".PP", _escaped(line))


def _command(command: CommandInfo) -> Iterator[str]:
    callback = command.callback
    assert callback is not None
    yield f".SH COMMAND {_escaped(str(command.name)).upper()}"
    yield _escaped(" ".join((inspect.getdoc(callback) or "").split()))
    panel = None
    for name, info, kind, default in _parameters(callback):
        if isinstance(info, OptionInfo) and info.rich_help_panel != panel:
            panel = info.rich_help_panel
            yield from (".PP", f".I {_escaped(str(panel or 'Options'))}")
        yield from (".TP", _heading(name, info, kind), _escaped(_help(info, default)))


def _parameters(callback: Callable[..., Any]) -> Iterator[tuple[str, ArgumentInfo | OptionInfo, Any, Any]]:
    """Yield name, typer's info, type and default of each parameter: arguments first, then options grouped by panel."""
    found = []
    for parameter in inspect.signature(callback, eval_str=True).parameters.values():
        kind, info = get_args(parameter.annotation)
        found.append((parameter.name, info, kind, parameter.default))
    panels = list(dict.fromkeys(info.rich_help_panel for _, info, *_ in found))
    yield from sorted(found, key=lambda one: (isinstance(one[1], OptionInfo), panels.index(one[1].rich_help_panel)))


def _heading(name: str, info: ArgumentInfo | OptionInfo, kind: Any) -> str:
    if isinstance(info, ArgumentInfo):
        return f".I {_escaped(str(info.metavar or name.upper()))}"
    # of `Option("--out", "-o")` in an annotation, typer stores the first name as default until it builds the command
    given = (info.default, *(info.param_decls or ()))
    declared = [str(one) for one in given if str(one).startswith("-")] or [f"--{name.replace('_', '-')}"]
    value = "" if kind is bool or info.count else f" {_value(name, info, kind)}"
    return f".B {_escaped(', '.join(sorted(declared, key=len)))}{value}"


def _value(name: str, info: OptionInfo, kind: Any) -> str:
    if get_origin(kind) is Literal:
        return _escaped("|".join(get_args(kind)))
    return _escaped(str(info.metavar or name.upper().removesuffix("_FILE")))


def _help(info: ArgumentInfo | OptionInfo, default: Any) -> str:
    shown = default not in (None, False, inspect.Parameter.empty)
    return f"{info.help}" + (f" Default: {default}." if shown else "")


def _escaped(text: str) -> str:
    """Escape text for roff: no line starts a request, and hyphens are literal."""
    return re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", "\\e").replace("-", "\\-"))


if __name__ == "__main__":
    PAGE.write_text(man_page())
