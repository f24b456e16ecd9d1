"""Check a node's configuration: each value by itself, and values against each other."""

from __future__ import annotations

import ipaddress
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

from cxr_infer.errors import UsageError
from cxr_infer.node.config import (
    AUTO,
    DERIVED,
    LOOPBACK,
    NO,
    ORIGINAL,
    OTHER,
    Config,
    Destination,
    Limits,
    Receive,
    Rule,
    Stow,
    WatchedFolder,
)
from cxr_infer.settings import KEEP, NONE

MOST_TITLE = 16  # characters of an AE title (PS3.5, value representation AE)
HIGHEST_PORT = 65535
MOST_ASSOCIATIONS = 10_000
A_DAY = 86400  # s


def checked(config: Config) -> Config:
    """Return the configuration unchanged. Raises UsageError if values are invalid or contradict each other."""
    names = [each.name for each in config.destinations]
    if not names:
        raise UsageError("no destination; add a [[destination]] or give --to AE@HOST:PORT")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two destinations are called {name!r}; rename one of them")
    for destination in config.destinations:
        _check_destination(destination)
    for rule in config.rules:
        _check_rule(rule, names)
    _check_receive(config.receive)
    if config.receive.stow is not None:
        _check_stow(config.receive.stow)
    if config.receive.folder is not None:
        _check_folder(config.receive.folder, config.spool)
    _require(config.node.pass_ in (OTHER, NONE), f"[node] pass must be {OTHER!r} or {NONE!r}")
    _require(config.node.compress in (KEEP, NONE), f"[node] compress must be {KEEP!r} or {NONE!r}")
    _require(-1 <= config.node.http_port <= HIGHEST_PORT, "[node] http_port must be -1 to 65535")
    _require(bool(config.node.spool), "[node] spool is empty; name a directory")
    _require(config.node.threads >= 0, "[node] threads must be 0 or more")
    _require(min(config.node.memory, config.node.max_pixels) >= 1, "[node] memory and max_pixels must be 1 or more")
    for each in fields(Limits):
        _require(getattr(config.limits, each.name) >= 0, f"[limits] {each.name} must be a number, 0 or more")
    _require(config.limits.longest_wait <= A_DAY, f"[limits] longest_wait must be {A_DAY} s or less")
    return config


def _check_destination(destination: Destination) -> None:
    where = f"[[destination]] {destination.name}:"
    _require(bool(destination.name.strip()), "[[destination]] name is empty; give the destination a name")
    _require(1 <= destination.timeout <= A_DAY, f"{where} timeout must be 1 to {A_DAY} s")
    _require(bool(destination.host) != bool(destination.url), f"{where} give either host or url")
    _require(1 <= destination.port <= HIGHEST_PORT, f"{where} port must be 1 to 65535")
    _require(destination.commitment in (AUTO, NO), f"{where} commitment must be {AUTO!r} or {NO!r}")
    _check_title(destination.ae_title, where)
    if destination.url:
        try:
            parts = urlsplit(destination.url)
            web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError as error:
            raise UsageError(f"{where} invalid url: {error}; correct it") from error
        plain = destination.url.isascii() and destination.url.isprintable() and " " not in destination.url
        _require(web and plain, f"{where} url must be http(s)://... without spaces")
        _require(
            parts.username is None, f"{where} url must not hold a password; token_env names a variable with a token"
        )
        safe = parts.scheme == "https" or parts.hostname in (LOOPBACK, "localhost", "::1")
        _require(safe or not destination.token_env, f"{where} a token requires https://")


def _check_rule(rule: Rule, destinations: list[str]) -> None:
    where = f"[[rule]] {rule.name}:"
    for name in rule.to:
        _require(name in destinations, f"{where} no destination is called {name!r}")
    _require(
        bool(rule.send) and set(rule.send) <= {ORIGINAL, DERIVED}, f"{where} send must list original, derived or both"
    )
    _require(rule.noise_above >= 0, f"{where} noise_above must be 0 or more")
    _require(0 <= rule.strength <= 1, f"{where} strength {rule.strength:g} is outside 0..1")


def _check_receive(receive: Receive) -> None:
    for title in (receive.ae_title, *receive.calling, *receive.called):
        _check_title(title, "[receive]")
    for network in receive.addresses:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise UsageError(
                f"[receive] addresses: {network!r} is not an address or a network such as 10.1.0.0/16"
            ) from error
    _require(0 <= receive.port <= HIGHEST_PORT, "[receive] port must be 0 to 65535")
    _require(1 <= receive.associations <= MOST_ASSOCIATIONS, f"[receive] associations must be 1 to {MOST_ASSOCIATIONS}")
    _require(receive.timeout <= A_DAY, f"[receive] timeout must be 1 to {A_DAY} s")
    _require(4096 <= receive.max_pdu <= 1 << 24, "[receive] max_pdu must be 4096 to 16777216")
    _require(min(receive.instance_mb, receive.memory_mb, receive.timeout) >= 1, "[receive] limits must be 1 or more")
    if receive.tls is not None:
        _require(bool(receive.tls.cert), "[receive.tls] lacks cert, the node's certificate; add it")


def _check_stow(stow: Stow) -> None:
    where = "[receive.stow]"
    _require(0 <= stow.port <= HIGHEST_PORT, f"{where} port must be 0 to {HIGHEST_PORT}")
    path_is_plain = stow.path.isascii() and not set(stow.path) & set("?#% ") and not stow.path.endswith("/")
    _require(path_is_plain and (not stow.path or stow.path.startswith("/")), f"{where} path must look like /dicom-web")
    if stow.tls is None:
        loopback = stow.address in (LOOPBACK, "::1", "localhost")
        _require(loopback, f"{where} without [receive.stow.tls], address must be loopback; use a proxy in front")
    else:
        _require(bool(stow.tls.cert), "[receive.stow.tls] lacks cert, the node's certificate; add it")


def _check_folder(folder: WatchedFolder, spool: Path) -> None:
    _require(bool(folder.path), "[receive.folder] path is empty; name a directory")
    watched = Path(folder.path).resolve()
    others = {"spool": spool} | ({"move_to": Path(folder.move_to)} if folder.move_to else {})
    for name, path in others.items():
        apart = watched != path.resolve() and watched not in path.resolve().parents
        _require(apart, f"[receive.folder] {name} {path} must be outside the watched folder")


def _check_title(title: str, where: str) -> None:
    plain = title.isascii() and title.isprintable() and "\\" not in title
    _require(
        bool(title.strip()) and plain and len(title) <= MOST_TITLE,
        f"{where} {title!r} is not an AE title (1 to {MOST_TITLE} printable ASCII characters without \\)",
    )


def _require(true: bool, problem: str) -> None:
    if not true:
        raise UsageError(problem)
