"""Accept what new users type: a bare path, `help`, options before the path."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from cxr_infer.cli.exit_status import WRONG_USAGE
from cxr_infer.report.text import print_error

HELP, DIR, FILE = "help", "dir", "file"
STANDARD = "-"  # input or output
URL = "://"


class NaturalGroup(TyperGroup):
    """Commands, with `dir` and `file` inferred from PATH if omitted."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if ctx.resilient_parsing else self._with_command(list(args)))

    def _with_command(self, args: list[str]) -> list[str]:
        """Insert the intended command."""
        own = {name for parameter in self.params for name in parameter.opts}
        at = next((index for index, word in enumerate(args) if word not in own), len(args))
        first = args[at : at + 1]
        if first == [HELP]:
            return [*args[:at], *args[at + 1 :], "--help"]
        if not first or first[0] in self.commands:
            return args
        places = list(_paths(args, at, self._takes_value()))
        if not places:
            return args
        words = [args[place] for place in places]
        if words[0] == HELP and not Path(HELP).exists():
            return [*args[:at], *words[1:], "--help"]
        if words[0] in self.commands and not Path(words[0]).exists() and "--" not in args[: places[0]]:
            before, after = args[at : places[0]], args[places[0] + 1 :]
            return [*args[:at], words[0], *before, *after]  # options of the command, given before it
        return [*args[:at], self._command_of(*words[:2]), *args[at:]]

    def _takes_value(self) -> Collection[str]:
        """Return the options of `dir` and `file` that take a value."""
        options = (parameter for name in (DIR, FILE) for parameter in self.commands[name].params)
        return {name for one in options if not _is_flag(one) for name in one.opts if name.startswith("-")}

    def _command_of(self, path: str, after: str = "") -> str:
        """Return the command for a path. Ends the program if the path does not exist.

        after: the next argument, which is suggested if the first one is not a path, as in `denoise xrays`.
        """
        if URL in path or Path(path).is_dir():
            return DIR
        if path == STANDARD or Path(path).exists():
            return FILE
        like = get_close_matches(path, self.commands, 1)
        way_out = f"did you mean {like[0]}?" if like else "cxr-infer --help shows all commands"
        if not like and after and Path(after).exists():
            way_out = f"to denoise {after}: cxr-infer {after}"
        print_error(f"{path}: no such file, directory or command; {way_out}")
        raise typer.Exit(WRONG_USAGE)


def _is_flag(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False) or getattr(parameter, "count", False))


def _paths(words: list[str], start: int, takes_value: Collection[str]) -> Iterator[int]:
    """Yield the places, from `start` on, of the words that are neither options nor their values."""
    coming = iter(range(start, len(words)))
    for place in coming:
        word = words[place]
        if word == "--":
            yield from coming
        elif word == STANDARD or not word.startswith("-"):
            yield place
        elif _needs_next(word, takes_value):
            next(coming, None)


def _needs_next(option: str, takes_value: Collection[str]) -> bool:
    """Whether the value of an option is the next word, rather than part of this one."""
    if option.startswith("--"):
        return option in takes_value
    valued = next((index for index, letter in enumerate(option) if f"-{letter}" in takes_value and index), None)
    return valued == len(option) - 1
