"""The response of a STOW-RS server: the Store Instances Response Module (PS3.18 annex I) as DICOM JSON (annex F)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cxr_infer.node.dicom_file import OUT_OF_RESOURCES
from cxr_infer.node.records import Arrival

CLASS, INSTANCE, REASON, RETRIEVE_URL = "00081150", "00081155", "00081197", "00081190"
FAILED, REFERENCED, OTHER_FAILURES = "00081198", "00081199", "0008119A"  # sequences


@dataclass(frozen=True)
class StoredInstance:
    """The outcome for one part. arrival: None if it names no instance. reason: of a failure; 0 if stored."""

    arrival: Arrival | None
    reason: int


def answer(found: Sequence[StoredInstance]) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return status and body. 503 if there was no room for anything, so that the sender tries again."""
    failed = [each for each in found if each.reason]
    body: dict[str, Any] = {RETRIEVE_URL: {"vr": "UR"}}  # empty: nothing can be retrieved here
    sequences = {
        FAILED: [_item(each) for each in failed if each.arrival is not None],
        REFERENCED: [_item(each) for each in found if not each.reason],
        OTHER_FAILURES: [_item(each) for each in failed if each.arrival is None],
    }
    body |= {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    if not failed:
        return HTTPStatus.OK, body
    if len(failed) < len(found):
        return HTTPStatus.ACCEPTED, body
    no_room = all(each.reason == OUT_OF_RESOURCES for each in failed)
    return HTTPStatus.SERVICE_UNAVAILABLE if no_room else HTTPStatus.CONFLICT, body


def _item(stored: StoredInstance) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if stored.arrival is not None:
        item[CLASS] = {"vr": "UI", "Value": [stored.arrival.class_uid]}
        item[INSTANCE] = {"vr": "UI", "Value": [stored.arrival.uid]}
    if stored.reason:
        item[REASON] = {"vr": "US", "Value": [stored.reason]}
    else:
        item[RETRIEVE_URL] = {"vr": "UR"}
    return item
