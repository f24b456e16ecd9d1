"""A result as stored: what was measured with what, and every finding with its uncertainty."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.files import read_content
from cxr_infer.lab.findings import Axis, Estimate, Finding, NamedMap, Series
from cxr_infer.lab.protocol import Protocol
from cxr_infer.lab.protocol_files import protocol_hash, protocol_of
from cxr_infer.model.hardware import cpu_name
from cxr_infer.untrusted_json import parse_object
from cxr_infer.version import __version__

RESULT_FORMAT = 1  # of lab.json; raised when a key changes its meaning or is removed
STATED_PACKAGES = (
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "scipy",
)  # packages whose versions can change a figure
MOST_FILE = 200_000_000  # bytes of a stored result


@dataclass(frozen=True)
class UnderTest:
    """A method under test: its name and its model's SHA-256, hexadecimal, or ""."""

    name: str
    sha256: str = ""


@dataclass(frozen=True)
class Shown:
    """An image that was used. sha256: of its pixels as float32, hexadecimal."""

    name: str
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class LabResult:
    """Everything found by one run of the lab.

    changed: changes of the protocol by the command line, in words. command: the command line of the run.
    """

    protocol: Protocol
    methods: tuple[UnderTest, ...]
    images: tuple[Shown, ...]
    findings: tuple[Finding, ...]
    frames: tuple[Shown, ...] = ()
    changed: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    date: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    cpu: str = field(default_factory=cpu_name)
    versions: Mapping[str, str] = field(default_factory=lambda: versions_here())

    @property
    def left_out(self) -> tuple[str, ...]:
        """Methods of the protocol that were left out because they are not installed."""
        return tuple(name for name in self.protocol.if_installed if name not in self.protocol.methods)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as defined by `schema.lab_schema`."""
        return {
            "lab": RESULT_FORMAT,
            "date": self.date,
            "command": list(self.command),
            "cpu": self.cpu,
            "versions": dict(self.versions),
            "protocol": {
                "name": self.protocol.name,
                "version": self.protocol.version,
                "sha256": protocol_hash(self.protocol),
                "changed": list(self.changed),
                "content": asdict(self.protocol),
            },
            "seed": self.protocol.seed,
            "methods": [{"name": one.name, "sha256": one.sha256 or None} for one in self.methods],
            "images": [asdict(one) for one in self.images],
            "frames": [asdict(one) for one in self.frames],
            "findings": [_finding(one) for one in self.findings],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"


def versions_here(further: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the versions of everything that can change a figure. further: packages of methods."""
    return {
        "cxr-infer": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in STATED_PACKAGES},
        **(further or {}),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "key": finding.key,
        "study": finding.study,
        "title": finding.title,
        "measured": finding.measured,
        "on": finding.on,
        "caution": finding.caution,
        "source": finding.source,
        "draws": finding.draws,
        "seed": finding.seed,
        "higher_is_better": finding.higher_is_better,
        "x": asdict(finding.x),
        "y": asdict(finding.y),
        "series": [_series(one, finding.draws_of(one)) for one in finding.series],
        "maps": [_map(one) for one in finding.maps],
    }


def _series(series: Series, draws: int) -> dict[str, Any]:
    return {
        "method": series.method,
        "condition": series.condition,
        "draws": draws,
        "x": [_number(x) for x in series.x],
        "y": [{end: _number(getattr(y, end)) for end in ("value", "low", "high")} for y in series.y],
    }


def _map(named: NamedMap) -> dict[str, Any]:
    """Summarise a map in numbers; the page shows the map itself."""
    values = named.values.astype(np.float64)
    height, width = values.shape
    return {
        "method": named.method,
        "condition": named.condition,
        "width": width,
        "height": height,
        "mean": _number(float(values.mean())),
        "rms": _number(float(np.sqrt(np.mean(values**2)))),
        "largest": _number(float(np.abs(values).max())),
    }


def _number(value: float) -> float | None:
    """Convert non-finite values to None, which JSON can represent."""
    return float(value) if math.isfinite(value) else None


def read_result(path: Path) -> LabResult:
    """Read a stored lab.json, without its maps. Raises UsageError if this version cannot read it."""
    other = "give a lab.json that cxr-infer lab wrote"
    try:
        content = parse_object(read_content(path, MOST_FILE, "is too large for a result"), MOST_FILE)
    except (ImageError, ValueError) as error:
        reason = str(error).removeprefix(f"{path}: ").removeprefix("cannot be read: ")
        raise UsageError(f"{path}: cannot be read: {reason}; {other}") from error
    if content.get("lab") != RESULT_FORMAT:
        raise UsageError(f"{path}: not a result of format {RESULT_FORMAT}; {other}")
    try:
        return _result(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: damaged: {type(error).__name__}: {error}; {other}") from error


def _result(said: Mapping[str, Any]) -> LabResult:
    return LabResult(
        protocol=protocol_of(said["protocol"]["content"]),
        methods=tuple(UnderTest(one["name"], one["sha256"] or "") for one in said["methods"]),
        images=tuple(Shown(**one) for one in said["images"]),
        findings=tuple(map(_finding_of, said["findings"])),
        frames=tuple(Shown(**one) for one in said["frames"]),
        changed=tuple(said["protocol"]["changed"]),
        command=tuple(said["command"]),
        date=said["date"],
        cpu=said["cpu"],
        versions=said["versions"],
    )


def _finding_of(said: Mapping[str, Any]) -> Finding:
    plain = ("key", "study", "title", "measured", "on", "caution", "draws", "seed", "source", "higher_is_better")
    return Finding(
        **{name: said[name] for name in plain},
        x=Axis(**said["x"]),
        y=Axis(**said["y"]),
        series=tuple(_series_of(one, said["draws"]) for one in said["series"]),
    )


def _series_of(said: Mapping[str, Any], draws: int) -> Series:
    """draws: of the finding."""

    def estimate(y: Mapping[str, Any]) -> Estimate:
        return Estimate(_float(y["value"]), _float(y["low"]), _float(y["high"]))

    own = said.get("draws", draws)  # missing in the first results
    return Series(
        said["method"],
        said["condition"],
        tuple(map(_float, said["x"])),
        tuple(map(estimate, said["y"])),
        None if own == draws else own,
    )


def _float(said: float | None) -> float:
    return math.nan if said is None else float(said)


def points(findings: Sequence[Finding]) -> list[tuple[Finding, Series, float, Estimate]]:
    """Return every point of every curve."""
    return [
        (finding, series, x, y)
        for finding in findings
        for series in finding.series
        for x, y in zip(series.x, series.y, strict=True)
    ]
