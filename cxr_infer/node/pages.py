"""Serve health and metrics on loopback: numbers and names of destinations, nothing about instances."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from cxr_infer.errors import UsageError
from cxr_infer.faults import fault_line, traceback_of
from cxr_infer.node.config import LOOPBACK, SOFTWARE
from cxr_infer.patient_server import PatientServer

TEXT = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' exposition format
PREFIX = "cxr_infer_node_"

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

LOG = logging.getLogger(__name__)

NodeState = dict[str, Any]


class Pages(PatientServer, ThreadingHTTPServer):
    """Serves `/health` and `/metrics`. Raises UsageError if the port is taken."""

    daemon_threads = True

    def __init__(self, port: int, facts: Callable[[], NodeState]) -> None:
        self.facts = facts
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise UsageError(f"port {port}: cannot be used: {error.strerror}; choose another http_port") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that end early; log anything else."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            LOG.error("a request failed: %s", fault_line(error))
            LOG.debug("%s", traceback_of(error))


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = SOFTWARE.replace(" ", "/"), ""
    default_request_version = "HTTP/1.0"  # of requests that are none: the answer to them has headers too
    timeout = 10.0

    def do_GET(self) -> None:
        facts = cast(Pages, self.server).facts()
        if self.path == "/health":
            status = HTTPStatus.OK if facts["healthy"] else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(status, json.dumps(facts | {"counters": None}), "application/json")
        elif self.path == "/metrics":
            self._send(HTTPStatus.OK, "".join(_metrics(facts)), TEXT)
        else:
            self._send(HTTPStatus.NOT_FOUND, "Not found; use /health or /metrics.\n", "text/plain")

    def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        """Add the headers of every answer, including the base class's answers to malformed requests."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: who asks is of no interest."""


def _metrics(facts: NodeState) -> Iterator[str]:
    yield from _metric("instances", "gauge", "Instances by state.", "state", facts["instances"])
    yield from _metric("waiting", "gauge", "Files waiting for a destination.", "destination", facts["waiting"])
    down = {name: float(bool(reason)) for name, reason in facts["destinations"].items()}
    yield from _metric("destination_down", "gauge", "Whether a destination fails.", "destination", down)
    for name, meaning in (
        ("unsent_bytes", "Bytes of unsent instances."),
        ("oldest_unsent_seconds", "Age of the oldest unsent instance."),
        ("denoised_per_hour", "Instances that this machine can denoise per hour."),
        ("disk_free_bytes", "Free space of the spool's disk."),
    ):
        yield from _metric(name, "gauge", meaning, "", {"": facts[name]})
    yield from _metric("denoise_seconds_total", "counter", "Time spent denoising.", "", {"": facts["denoise_seconds"]})
    yield f"# HELP {PREFIX}events_total Events since the start.\n# TYPE {PREFIX}events_total counter\n"
    for (event, destination), count in sorted(facts["counters"].items()):
        more = f",destination={json.dumps(destination)}" if destination else ""
        yield f"{PREFIX}events_total{{event={json.dumps(event)}{more}}} {count}\n"


def _metric(name: str, kind: str, meaning: str, label: str, values: dict[str, float]) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {meaning}\n# TYPE {PREFIX}{name} {kind}\n"
    for key, value in values.items():
        yield f"{PREFIX}{name}{f'{{{label}={json.dumps(key)}}}' if label else ''} {value:g}\n"
