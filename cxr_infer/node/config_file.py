"""Read a node's TOML file, checked as a whole before anything starts."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from cxr_infer.errors import UsageError
from cxr_infer.files import read_toml
from cxr_infer.node.config import Config, Destination, Limits, Node, Receive, Rule, Stow, Tls, WatchedFolder
from cxr_infer.node.config_checks import checked

MOST_NUMBER = 2**31 - 1  # larger than any sensible value
TABLES = {"tls": Tls, "stow": Stow, "folder": WatchedFolder}  # tables inside other tables

T = TypeVar("T")


def read_config(path: Path) -> Config:
    """Read a TOML file. Raises UsageError, which names the file and the key."""
    tables = read_toml(path, "node", "check --config")
    try:
        return checked(_config(tables))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _config(tables: dict[str, Any]) -> Config:
    known = {"node", "receive", "limits", "destination", "rule"}
    unknown = sorted(set(tables) - known)
    if unknown:
        raise UsageError(f"unknown table [{unknown[0]}]; use {', '.join(sorted(known))}")
    lists = {name: tables.get(name, []) for name in ("destination", "rule")}
    for name, given in lists.items():
        if not isinstance(given, list):
            raise UsageError(f"[{name}] must be a list of tables; write [[{name}]]")
    return Config(
        _built(Node, tables.get("node", {}), "[node]"),
        _built(Receive, tables.get("receive", {}), "[receive]"),
        _built(Limits, tables.get("limits", {}), "[limits]"),
        tuple(_built(Destination, each, "[[destination]]") for each in lists["destination"]),
        tuple(
            _built(Rule, {"name": f"rule {at}"} | each if isinstance(each, dict) else each, "[[rule]]")
            for at, each in enumerate(lists["rule"], 1)
        ),
    )


def _built(kind: type[T], table: Any, where: str) -> T:
    """Convert a table to a dataclass. Raises UsageError for unknown keys and values of the wrong type."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} must be a table; write {where}")
    allowed = {each.name.rstrip("_"): each for each in fields(cast(Any, kind))}
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise UsageError(f"{where} unknown key {unknown[0]}; use {', '.join(allowed)}")
    given: dict[str, Any] = {}
    for key, value in table.items():
        given[allowed[key].name] = _value(value, allowed[key].default, f"{where} {key}", key)
    missing = [name for name, each in allowed.items() if each.default is MISSING and name not in table]
    if missing:
        raise UsageError(f"{where} lacks {missing[0]}; add it")
    return kind(**given)


def _value(value: Any, default: Any, where: str, key: str) -> Any:
    if key in TABLES:
        return _built(TABLES[key], value, where)
    if isinstance(default, tuple):
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UsageError(f"{where} must be a list of strings")
        return tuple(texts)
    kind = str if default is MISSING else type(default)
    if type(value) is int and abs(value) > MOST_NUMBER:
        raise UsageError(f"{where} must be {MOST_NUMBER} or less")
    if isinstance(value, str) and "\0" in value:
        raise UsageError(f"{where} contains a NUL character; remove it")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
        raise UsageError(f"{where} must be {names[kind]}")
    return value
