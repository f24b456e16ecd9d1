"""How a node is set up: a TOML file, checked as a whole before anything starts."""

from __future__ import annotations

import ipaddress
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from cxr_infer.errors import UsageError
from cxr_infer.settings import DEFAULT_MEMORY, KEEP, MAX_PIXELS, NONE
from cxr_infer.version import __version__

OTHER = "other"  # what is not denoised is passed through
AUTO, NO = "auto", "no"  # of storage commitment: where the destination offers it, or never
ORIGINAL, DERIVED = "original", "derived"
MOST_TITLE = 16  # characters of an AE title (PS3.5, value representation AE)
MOST_FILE = 1_000_000  # bytes of a TOML file
HIGHEST_PORT = 65535
LOOPBACK = "127.0.0.1"

T = TypeVar("T")
Texts = tuple[str, ...]


@dataclass(frozen=True)
class Tls:
    """Files of one side. ca: who signs the certificates of the other side. verify_host: a client checks the name."""

    ca: str
    cert: str = ""
    key: str = ""
    verify_host: bool = True


@dataclass(frozen=True)
class Receive:
    """Who may send, and how much at once. Empty lists allow everybody."""

    ae_title: str = "CXRINFER"
    address: str = LOOPBACK
    port: int = 11112
    calling: Texts = ()  # AE titles
    called: Texts = ()
    addresses: Texts = ()  # of senders, or networks such as 10.1.0.0/16
    associations: int = 10
    max_pdu: int = 131072  # bytes
    instance_mb: int = 512
    memory_mb: int = 1024  # that instances may take together while they arrive
    timeout: int = 60  # s that a connection may stay silent
    tls: Tls | None = None

    @property
    def open_to_anybody(self) -> bool:
        """Whether whoever reaches the port may send."""
        return self.address != LOOPBACK and not (self.addresses or self.calling or self.tls)


@dataclass(frozen=True)
class Destination:
    """Where instances go: a DICOM node, or a DICOMweb store by its URL."""

    name: str
    host: str = ""
    port: int = 104
    ae_title: str = "ANY-SCP"
    commitment: str = AUTO
    url: str = ""  # of STOW-RS, such as https://pacs/dicom-web/studies
    token_env: str = ""  # variable that holds a bearer token
    timeout: int = 60  # s
    tls: Tls | None = None


@dataclass(frozen=True)
class Limits:
    """When the node stops taking, trying and keeping."""

    attempts: int = 5  # of an instance that a destination refuses
    give_up_days: float = 7.0  # after which an instance that could not be sent is quarantined
    reserve_mb: int = 200  # of the disk, which stay free
    spool_gb: float = 0.0  # that the spool may take; 0: as much as there is
    remember_days: float = 7.0  # so long is an instance known that was sent
    keep_hours: float = 0.0  # so long are its files kept as well
    retry_seconds: float = 2.0  # before a destination that is down is tried again, doubled each time
    longest_wait: float = 300.0  # s


@dataclass(frozen=True)
class Rule:
    """Which instances it is for (empty: all), and what becomes of them. The first that fits counts."""

    name: str = "default"
    modality: Texts = ()
    body_part: Texts = ()
    view: Texts = ()
    manufacturer: Texts = ()
    called: Texts = ()
    calling: Texts = ()
    noise_above: float = 0.0  # standard deviation in gray levels of an 8-bit image
    denoise: bool = True
    strength: float = 1.0
    send: Texts = (ORIGINAL, DERIVED)
    to: Texts = ()  # names of destinations; empty: all


@dataclass(frozen=True)
class Node:
    """The node as a whole. http_port: of health and metrics on loopback; 0 any that is free, -1 none."""

    spool: str = "cxr-infer-spool"
    pass_: str = OTHER
    model: str = "window"
    precision: str = "auto"
    threads: int = 0  # 0: what affinity and container quota allow
    memory: int = DEFAULT_MEMORY  # MB
    max_pixels: int = MAX_PIXELS
    compress: str = NONE
    http_port: int = 11180


@dataclass(frozen=True)
class Config:
    """Everything that a TOML file says."""

    node: Node = Node()
    receive: Receive = Receive()
    limits: Limits = Limits()
    destinations: tuple[Destination, ...] = ()
    rules: tuple[Rule, ...] = field(default=())

    @property
    def spool(self) -> Path:
        return Path(self.node.spool)

    def destination(self, name: str) -> Destination:
        return next(each for each in self.destinations if each.name == name)


def read_config(path: Path) -> Config:
    """What a TOML file says. Raises UsageError, which names the file and the key."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_FILE + 1)
        if len(text) > MOST_FILE:
            raise UsageError(f"{path}: is over {MOST_FILE / 1e6:.0f} MB; is it the right file?")
        tables = tomllib.loads(text.decode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}; check --config") from error
    except ValueError as error:
        raise UsageError(f"{path}: is no TOML: {' '.join(str(error).split())}; correct it") from error
    try:
        return checked(_config(tables))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _config(tables: dict[str, Any]) -> Config:
    known = {"node", "receive", "limits", "destination", "rule"}
    unknown = sorted(set(tables) - known)
    if unknown:
        raise UsageError(f"unknown table [{unknown[0]}]; there are {', '.join(sorted(known))}")
    lists = {name: tables.get(name, []) for name in ("destination", "rule")}
    for name, given in lists.items():
        if not isinstance(given, list):
            raise UsageError(f"[{name}] is one of a list; write [[{name}]]")
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
    """A table as a dataclass. Raises UsageError for keys that it does not have and values of another type."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} is no table; write it as {where}")
    allowed = {each.name.rstrip("_"): each for each in fields(cast(Any, kind))}
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise UsageError(f"{where} has no {unknown[0]}; it has {', '.join(allowed)}")
    given: dict[str, Any] = {}
    for key, value in table.items():
        given[allowed[key].name] = _value(value, allowed[key].default, f"{where} {key}", key)
    missing = [name for name, each in allowed.items() if each.default is MISSING and name not in table]
    if missing:
        raise UsageError(f"{where} lacks {missing[0]}; add it")
    return kind(**given)


def _value(value: Any, default: Any, where: str, key: str) -> Any:
    if key == "tls":
        return _built(Tls, value, where)
    if isinstance(default, tuple):
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UsageError(f"{where} must be a list of texts")
        return tuple(texts)
    kind = str if default is MISSING else type(default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
        raise UsageError(f"{where} must be {names[kind]}")
    return value


def checked(config: Config) -> Config:
    """The same. Raises UsageError where values make no sense, by themselves or together."""
    names = [each.name for each in config.destinations]
    if not names:
        raise UsageError("there is no destination; add a [[destination]] or give --to AE@HOST:PORT")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two destinations are called {name!r}; rename one of them")
    for destination in config.destinations:
        _check_destination(destination)
    for rule in config.rules:
        _check_rule(rule, names)
    _check_receive(config.receive)
    _require(config.node.pass_ in (OTHER, NONE), f"[node] pass must be {OTHER!r} or {NONE!r}")
    _require(config.node.compress in (KEEP, NONE), f"[node] compress must be {KEEP!r} or {NONE!r}")
    _require(-1 <= config.node.http_port <= HIGHEST_PORT, "[node] http_port must be -1 to 65535")
    for each in fields(Limits):
        _require(getattr(config.limits, each.name) >= 0, f"[limits] {each.name} is negative")
    return config


def _check_destination(destination: Destination) -> None:
    where = f"[[destination]] {destination.name}:"
    _require(bool(destination.host) != bool(destination.url), f"{where} give it either host or url")
    _require(1 <= destination.port <= HIGHEST_PORT, f"{where} port must be 1 to 65535")
    _require(destination.commitment in (AUTO, NO), f"{where} commitment must be {AUTO!r} or {NO!r}")
    _check_title(destination.ae_title, where)
    if destination.url:
        parts = urlsplit(destination.url)
        _require(parts.scheme in ("http", "https") and bool(parts.hostname), f"{where} url must be http(s)://...")
        _require(parts.username is None, f"{where} leave the password out of url; token_env names a variable")
        safe = parts.scheme == "https" or parts.hostname in (LOOPBACK, "localhost", "::1")
        _require(safe or not destination.token_env, f"{where} a token goes to https:// only")


def _check_rule(rule: Rule, destinations: list[str]) -> None:
    where = f"[[rule]] {rule.name}:"
    for name in rule.to:
        _require(name in destinations, f"{where} no destination is called {name!r}")
    _require(bool(rule.send) and set(rule.send) <= {ORIGINAL, DERIVED}, f"{where} send is of original, derived")
    _require(0 <= rule.strength <= 1, f"{where} strength {rule.strength:g} is outside 0..1")


def _check_receive(receive: Receive) -> None:
    for title in (receive.ae_title, *receive.calling, *receive.called):
        _check_title(title, "[receive]")
    for network in receive.addresses:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise UsageError(f"[receive] addresses: {network!r} is no address or network, as 10.1.0.0/16") from error
    _require(0 <= receive.port <= HIGHEST_PORT, "[receive] port must be 0 to 65535")
    _require(receive.associations >= 1, "[receive] associations must be 1 or more")
    _require(4096 <= receive.max_pdu <= 1 << 24, "[receive] max_pdu must be 4096 to 16777216")
    _require(min(receive.instance_mb, receive.memory_mb, receive.timeout) >= 1, "[receive] limits must be 1 or more")
    if receive.tls is not None:
        _require(bool(receive.tls.cert), "[receive.tls] lacks cert, the certificate of the node; add it")


def _check_title(title: str, where: str) -> None:
    plain = title.isascii() and title.isprintable() and "\\" not in title
    _require(bool(title.strip()) and plain and len(title) <= MOST_TITLE, f"{where} {title!r} is no AE title")


def _require(true: bool, problem: str) -> None:
    if not true:
        raise UsageError(problem)


def destination_of(text: str) -> Destination:
    """`AE@HOST:PORT`, or the URL of a DICOMweb store. Raises UsageError."""
    if "://" in text:
        return Destination(name=text, url=text)
    title, at, place = text.partition("@")
    host, colon, port = place.rpartition(":")
    if not (at and colon and host and port.isdecimal()):
        raise UsageError(f"--to {text}: give AE@HOST:PORT, such as PACS@10.0.0.5:104, or a URL")
    return Destination(name=title, ae_title=title, host=host.strip("[]"), port=int(port))


SOFTWARE = f"cxr-infer {__version__}"
