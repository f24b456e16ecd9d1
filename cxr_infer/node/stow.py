"""STOW-RS output: one file per request, streamed from disk (PS3.18 10.5). Redirects are not followed."""

from __future__ import annotations

import http.client
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cxr_infer.errors import UsageError
from cxr_infer.node.config import SOFTWARE, Destination
from cxr_infer.node.outcome import ACKNOWLEDGED, Fate, Outcome
from cxr_infer.node.records import Delivery
from cxr_infer.node.tls import client_context
from cxr_infer.untrusted_json import parse_object

CHUNK = 1 << 18  # bytes
MOST_ANSWER = 1 << 20
STORED = (200, 202)
# statuses that would apply to every other instance too, such as no permission or too many requests
OF_ALL = frozenset({401, 403, 404, 405, 407, 408, 429})
FAILED_SEQUENCE = "00081198"


def token_of(destination: Destination) -> str:
    """Return the bearer token from the environment. Raises UsageError if it is not set."""
    if not destination.token_env:
        return ""
    token = os.environ.get(destination.token_env, "").strip()
    if not token:
        raise UsageError(f"{destination.name}: no token in the environment; set the variable {destination.token_env}")
    return token


def post(destination: Destination, delivery: Delivery) -> Outcome:
    """Send one file. Raises UsageError if the token or the TLS files are missing."""
    parts = urlsplit(destination.url)
    boundary = uuid.uuid4().hex
    size = delivery.path.stat().st_size
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {size}\r\n\r\n".encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(len(head) + size + len(tail)),
        "Accept": "application/dicom+json",
        "User-Agent": SOFTWARE.replace(" ", "/"),
    }
    token = token_of(destination)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = _connection(destination, parts.scheme, str(parts.hostname), parts.port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, _body(head, delivery.path, tail), headers)
        response = connection.getresponse()
        return _outcome(response.status, response.read(MOST_ANSWER))
    except (OSError, http.client.HTTPException) as error:
        return Outcome(Fate.DOWN, f"cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}")
    finally:
        connection.close()


def _connection(destination: Destination, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=destination.timeout)
    context = client_context(destination.tls)
    return http.client.HTTPSConnection(host, port, timeout=destination.timeout, context=context)


def _body(head: bytes, path: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            yield block
    yield tail


def _outcome(status: int, answer: bytes) -> Outcome:
    """Interpret a response (PS3.18 10.5.3): 200 stored, 202 some failed, 409 none stored."""
    if status in STORED and not _failures(answer):
        return ACKNOWLEDGED
    if status in STORED or (400 <= status < 500 and status not in OF_ALL):
        return Outcome(Fate.REFUSED, f"refused with HTTP status {status}")
    return Outcome(Fate.DOWN, f"HTTP status {status}")


def _failures(answer: bytes) -> bool:
    """Whether the response names a failed instance. Formats other than DICOM JSON, such as XML, are not parsed."""
    try:
        found = parse_object(answer).get(FAILED_SEQUENCE)
    except ValueError:
        return b"FailedSOPSequence" in answer or FAILED_SEQUENCE.encode() in answer
    return bool(found.get("Value") if isinstance(found, dict) else found)
