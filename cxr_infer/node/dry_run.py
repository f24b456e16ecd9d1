"""Show what the rules would do with files, without receiving, denoising or sending anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxr_infer.errors import CxrError, ImageError, UsageError
from cxr_infer.files import open_plain, read_content
from cxr_infer.formats.dicom.signature import is_dicom
from cxr_infer.formats.readers import most_bytes, read_radiograph
from cxr_infer.formats.registry import SIGNATURE_LENGTH
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.node.config import DERIVED, OTHER, Config, Rule
from cxr_infer.node.rules import deliveries, routing_attributes, rule_for
from cxr_infer.node.work import settings_of

DENOISE, PASS, SET_ASIDE = "denoise", "pass", "quarantine"


@dataclass(frozen=True)
class Planned:
    """What would happen to one file. deliveries: pairs of `original` or `derived` and a destination."""

    name: str
    rule: str
    action: str
    reason: str
    deliveries: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def planned(config: Config, paths: Iterable[Path]) -> list[Planned]:
    """Plan each DICOM file; directories include everything in them. Raises UsageError if there is none."""
    found = [_plan(config, path) for path in _files(paths)]
    if not found:
        raise UsageError("no DICOM file found; give other files or folders")
    return found


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or directory; check the path")
        inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        for each in inside:
            if is_dicom(_head(each)):
                yield each


def _head(path: Path) -> bytes:
    """The beginning of a file. Raises UsageError where it is no plain one, or cannot be read."""
    try:
        with open_plain(path) as file:
            return file.read(SIGNATURE_LENGTH)
    except ImageError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}; check its permissions") from error


def _plan(config: Config, path: Path) -> Planned:
    # a file has no association: assume it was sent to the node's own title, without a calling title
    rule = rule_for(config.rules, routing_attributes(path, config.receive.ae_title, ""))
    problem = _why_not(config, rule, path)
    if not problem:
        return Planned(str(path), rule.name, DENOISE, "", deliveries(config, rule, has_result=True))
    if rule.denoise and config.node.pass_ != OTHER:
        return Planned(str(path), rule.name, SET_ASIDE, problem, [])
    return Planned(str(path), rule.name, PASS, problem, deliveries(config, rule, has_result=False))


def _why_not(config: Config, rule: Rule, path: Path) -> str:
    """Return why a file would not be denoised; empty if it would."""
    if not rule.denoise or DERIVED not in rule.send:
        return f"{rule.name}: passed through"
    _, reading = settings_of(config, rule)
    try:
        radiograph = read_radiograph(path, read_content(path, most_bytes(reading)), reading, path)
    except CxrError as error:
        return str(error)
    found = radiograph.stretch * estimate_mottle(radiograph.gray()).gray_levels if rule.noise_above else 0.0
    return f"noise {found:.2f} is not above {rule.noise_above:g}" if found < rule.noise_above else ""
