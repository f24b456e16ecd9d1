"""Find the rule for an instance, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from cxr_infer.node.config import DERIVED, ORIGINAL, OTHER, Config, Rule

# attributes that rules use; none of them identifies a patient
KEYWORDS = ("Modality", "BodyPartExamined", "ViewPosition", "Manufacturer")


@dataclass(frozen=True)
class RoutingAttributes:
    """The values that rules compare."""

    modality: str = ""
    body_part: str = ""
    view: str = ""
    manufacturer: str = ""
    called: str = ""
    calling: str = ""


def routing_attributes(path: Path, called: str, calling: str) -> RoutingAttributes:
    """Return the facts of a DICOM file; unreadable ones are empty. Needs pydicom."""
    from pydicom import dcmread
    from pydicom.dataset import Dataset

    from cxr_infer.formats.dicom.attributes import text

    try:
        dataset: Dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(KEYWORDS))
        modality, body_part, view, manufacturer = (text(dataset, keyword) for keyword in KEYWORDS)
    except Exception:  # pydicom raises any exception; reading the image will report the reason
        return RoutingAttributes(called=called, calling=calling)
    return RoutingAttributes(modality, body_part, view, manufacturer, called, calling)


def rule_for(rules: Iterable[Rule], facts: RoutingAttributes) -> Rule:
    """Return the first matching rule, or the default: denoise at full strength, send original and result everywhere."""
    return next((rule for rule in rules if _fits(rule, facts)), Rule())


def _fits(rule: Rule, facts: RoutingAttributes) -> bool:
    wanted = ("modality", "body_part", "view", "manufacturer", "called", "calling")
    return all(_one_of(getattr(rule, name), getattr(facts, name)) for name in wanted)


def _one_of(patterns: tuple[str, ...], value: str) -> bool:
    """Whether a value matches one of the patterns; * stands for anything, case is ignored."""
    return not patterns or any(fnmatchcase(value.upper(), pattern.upper()) for pattern in patterns)


def at_once(config: Config, rule: Rule) -> list[tuple[str, str]]:
    """Return where an original goes before its result exists: nowhere if it goes only with or instead of a result."""
    if config.node.pass_ == OTHER and (ORIGINAL in rule.send or not rule.denoise):
        return deliveries(config, rule, has_result=False)
    return []


def deliveries(config: Config, rule: Rule, *, has_result: bool) -> list[tuple[str, str]]:
    """Return pairs of `original` or `derived` and a destination's name.

    Without a result, the original is sent instead, so that nothing is lost between modality and archive.
    """
    names = rule.to or tuple(each.name for each in config.destinations)
    kinds = rule.send if has_result else (ORIGINAL,)
    return [(kind, name) for kind in (ORIGINAL, DERIVED) if kind in kinds for name in names]
