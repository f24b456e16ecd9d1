"""Read protocols from TOML files, checked as a whole before anything is measured, and identify them by a hash."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from cxr_infer.errors import UsageError
from cxr_infer.files import read_toml
from cxr_infer.lab.protocol import NOISY, SIGNAL_KINDS, Protocol, Signal

SHIPPED_PROTOCOLS = ("quick", "full")
SIGNAL = "signal"  # table name in the file, one per entry of `Protocol.signals`
MOST_NAME = 60  # characters; it becomes part of a result's directory name
OPTIONAL = ("spacing", "blur", "if_installed", "fewer_draws")
OF_METHODS = ("methods", "if_installed", "fewer_draws")  # left out of the hash
MOST_BLUR = 10.0  # px; a detector blurs less
LEAST_SIDE, MOST_SIDE = 64, 4096  # px; a phantom needs at least the first
LEAST_SPACING, MOST_SPACING = 1e-3, 100.0  # mm a pixel
MOST_SIZE = 1e4  # px or mm, of a signal
LEAST_PIXELS, LEAST_PERIOD = 1.0, 2.0  # px, of a signal, and of a lattice; finer ones cannot be drawn
LEAST_DOSE, MOST_DOSE = 1e-3, 1e12  # photons at white
LEAST_DRAWS = 2  # a single draw gives no uncertainty
WHITE_LEVEL = 255.0  # gray levels
ROUNDING = 1e-9


@dataclass(frozen=True)
class Known:
    """The names a protocol may use, except methods, which are checked by loading them (`methods`)."""

    studies: Collection[str]
    noises: Collection[str]


def read_protocol(source: str, known: Known) -> Protocol:
    """Read a shipped protocol by name, or a TOML file. Raises UsageError, which names the file and the key."""
    tables = _tables(source)
    try:
        return checked(_protocol(tables), known)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def protocol_hash(protocol: Protocol) -> str:
    """Return a SHA-256, hexadecimal, of a protocol without what it says about methods, which have their own hashes.

    Results with equal hashes are comparable, whoever measured them and whichever methods. Each figure states its number
    of draws.
    """
    said = {key: value for key, value in asdict(protocol).items() if key not in OF_METHODS}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def protocol_of(said: Mapping[str, Any]) -> Protocol:
    """Rebuild the protocol of a result from its JSON. Raises UsageError."""
    return _protocol({SIGNAL if key == "signals" else key: value for key, value in said.items() if value is not None})


def _tables(source: str) -> dict[str, Any]:
    if source in SHIPPED_PROTOCOLS:
        return tomllib.loads((files(__package__) / "protocols" / f"{source}.toml").read_text("utf-8"))
    path = Path(source)
    if path.suffix.lower() != ".toml":
        raise UsageError(
            f"unknown protocol {source!r}; use {' or '.join(SHIPPED_PROTOCOLS)}, or the path of a .toml file"
        )
    return read_toml(path, "protocol", "check the path")


def _protocol(tables: Mapping[str, Any]) -> Protocol:
    names = [SIGNAL if each.name == "signals" else each.name for each in fields(Protocol)]
    _no_others(tables, names, "a protocol")
    missing = [name for name in names if name not in tables and name not in OPTIONAL]
    if missing:
        raise UsageError(f"{missing[0]} is missing; add it, as in the protocols that come with cxr-infer")
    return Protocol(
        name=_value(tables, "name", str),
        version=_value(tables, "version", int),
        seed=_value(tables, "seed", int),
        phantoms=_value(tables, "phantoms", int),
        side=_value(tables, "side", int),
        spacing=_value(tables, "spacing", float) if "spacing" in tables else None,
        doses=_list(tables, "doses", float),
        noises=_list(tables, "noises", str),
        methods=_list(tables, "methods", str),
        signals=_signals(tables[SIGNAL]),
        contrasts=_list(tables, "contrasts", float),
        draws=_value(tables, "draws", int),
        studies=_list(tables, "studies", str),
        blur=_value(tables, "blur", float) if "blur" in tables else 0.0,
        if_installed=_list(tables, "if_installed", str) if "if_installed" in tables else (),
        fewer_draws=_draws(tables["fewer_draws"]) if "fewer_draws" in tables else {},
    )


def _draws(given: object) -> dict[str, int]:
    if not isinstance(given, dict):
        raise UsageError("fewer_draws must be a table; write [fewer_draws] and, for example, bm3d = 8")
    return {name: _value(given, name, int, "fewer_draws: ") for name in given}


def _signals(given: object) -> tuple[Signal, ...]:
    if not isinstance(given, list | tuple):
        raise UsageError(f"{SIGNAL} must be a list of tables; write [[{SIGNAL}]]")
    return tuple(_signal(each, f"[[{SIGNAL}]] {at}: ") for at, each in enumerate(given, 1))


def _signal(given: object, where: str) -> Signal:
    names = [each.name for each in fields(Signal)]
    if not isinstance(given, dict):
        raise UsageError(f"{where}must be a table; write [[{SIGNAL}]]")
    _no_others(given, names, where.rstrip(": "))
    missing = [name for name in names if name not in given]
    if missing:
        raise UsageError(f"{where}{missing[0]} is missing; add it")
    return Signal(
        _value(given, "kind", str, where), _value(given, "size", float, where), _value(given, "contrast", float, where)
    )


def _no_others(given: Mapping[str, Any], names: Collection[str], where: str) -> None:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; use {', '.join(names)}")


def _value(given: Mapping[str, Any], key: str, kind: type, where: str = "") -> Any:
    value = given[key]
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        names = {str: "a string", int: "a whole number", float: "a number"}
        raise UsageError(f"{where}{key} must be {names[kind]}, not {value!r}")
    return value


def _list(given: Mapping[str, Any], key: str, kind: type) -> tuple[Any, ...]:
    values = given[key]
    if not isinstance(values, list | tuple):
        raise UsageError(f"{key} must be a list, such as {'[50, 200]' if kind is float else '[...]'}, not {values!r}")
    return tuple(_value({key: value}, key, kind, "each of ") for value in values)


def checked(protocol: Protocol, known: Known) -> Protocol:
    """Return the protocol unchanged. Raises UsageError for invalid values and unknown names."""
    _require(bool(protocol.name.strip()), "name is empty; give the protocol a name")
    named = len(protocol.name) <= MOST_NAME and protocol.name.isprintable() and not set(protocol.name) & set("/\\")
    _require(named, f"name cannot be a directory name; use at most {MOST_NAME} printable characters without slashes")
    _require(protocol.version >= 1, f"version {protocol.version} is below 1; count from 1")
    _require(protocol.seed >= 0, f"seed {protocol.seed} is negative; use 0 or more")
    _require(protocol.phantoms >= 1, f"phantoms {protocol.phantoms} is too few; use 1 or more")
    inside = LEAST_SIDE <= protocol.side <= MOST_SIDE
    _require(inside, f"side {protocol.side} px is outside {LEAST_SIDE}..{MOST_SIDE}")
    spacing = protocol.spacing
    spaced = spacing is None or is_spacing(spacing)
    _require(spaced, f"spacing {spacing} mm is invalid; use {LEAST_SPACING:g} to {MOST_SPACING:g}")
    blurs = math.isfinite(protocol.blur) and 0 <= protocol.blur <= MOST_BLUR
    _require(blurs, f"blur {protocol.blur} px is outside 0..{MOST_BLUR:g}")
    _require(protocol.draws >= LEAST_DRAWS, f"draws {protocol.draws} is too few; use {LEAST_DRAWS} or more")
    for key in ("doses", "noises", "methods", "signals", "contrasts", "studies"):
        values = getattr(protocol, key)
        shown = SIGNAL if key == "signals" else key
        _require(bool(values), f"{shown} is empty; name at least one")
        names = [_shown(value) for value in values]
        twice = next((name for name in names if names.count(name) > 1), None)
        _require(twice is None, f"{shown} has {twice!r} twice; remove one")
    for dose in protocol.doses:
        within = LEAST_DOSE <= dose <= MOST_DOSE
        _require(within, f"doses: {dose:g} photons is invalid; use {LEAST_DOSE:g} to {MOST_DOSE:g}")
    for contrast in protocol.contrasts:
        _require(_is_contrast(contrast), f"contrasts: {contrast:g} is invalid; use -255 to 255 gray levels, but not 0")
    for at, signal in enumerate(protocol.signals, 1):
        _check_signal(signal, f"[[{SIGNAL}]] {at}:")
    require_drawable(protocol)
    _check_names(protocol, known)
    _check_methods(protocol)
    return protocol


def require_drawable(protocol: Protocol) -> None:
    """Raises UsageError if a signal is too small for the pixels and would be drawn wrongly or not at all."""
    for at, signal in enumerate(protocol.signals, 1):
        least = LEAST_PERIOD if signal.kind == "lattice" else LEAST_PIXELS
        smallest = least * (protocol.spacing or 1.0)
        unit = "px" if protocol.spacing is None else f"mm at {protocol.spacing:g} mm per pixel"
        _require(
            signal.kind == "edge" or signal.size >= smallest * (1 - ROUNDING),
            f"[[{SIGNAL}]] {at}: a {signal.kind} of {signal.size:g} {unit} is too small to draw; use {smallest:g} or "
            "more",
        )


def _check_methods(protocol: Protocol) -> None:
    """Check the optional and the slow methods."""
    for name in protocol.if_installed:
        _require(name not in protocol.methods, f"if_installed: {name!r} is also in methods; remove it from one of them")
    for name, draws in protocol.fewer_draws.items():
        named = name in (*protocol.methods, *protocol.if_installed) and name != NOISY
        _require(
            named, f"fewer_draws: {name!r} is not a denoiser in methods or if_installed; remove it, or add it there"
        )
        within = LEAST_DRAWS <= draws <= protocol.draws
        _require(within, f"fewer_draws: {name} {draws} is outside {LEAST_DRAWS}..{protocol.draws}")


def _shown(value: str | float | Signal) -> str:
    """Return the name used in results; equal names would be confused."""
    if isinstance(value, Signal):
        return f"{value.kind}, {value.size:g}, {value.contrast:+g}"
    return value if isinstance(value, str) else f"{value:g}"


def _check_signal(signal: Signal, where: str) -> None:
    _require(signal.kind in SIGNAL_KINDS, f"{where} unknown kind {signal.kind!r}; use {', '.join(SIGNAL_KINDS)}")
    sized = 0 < signal.size <= MOST_SIZE or (signal.kind == "edge" and signal.size == 0)
    _require(sized, f"{where} size {signal.size:g} is invalid; use a number above 0, at most {MOST_SIZE:g}")
    _require(
        _is_contrast(signal.contrast), f"{where} contrast {signal.contrast:g} is invalid; use -255 to 255, but not 0"
    )


def _check_names(protocol: Protocol, known: Known) -> None:
    for name in protocol.studies:
        _require(name in known.studies, f"studies: unknown {name!r}; use {', '.join(known.studies)}")
    for name in protocol.noises:
        _require(name in known.noises, f"noises: unknown {name!r}; use {', '.join(known.noises)}")


def is_spacing(value: float) -> bool:
    """Whether a value is a plausible pixel spacing in mm."""
    return LEAST_SPACING <= value <= MOST_SPACING


def _is_contrast(value: float) -> bool:
    return 0 < abs(value) <= WHITE_LEVEL


def _require(true: bool, problem: str) -> None:
    if not true:
        raise UsageError(problem)
