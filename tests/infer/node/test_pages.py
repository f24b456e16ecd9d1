"""The health and metrics pages: failed requests and connections."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from cxr_infer.node.pages import HEADERS, Pages
from tests.descriptors import USE_UP_DESCRIPTORS
from tests.infer.node.archives import HOST


@pytest.mark.parametrize(("error", "logged"), [(ConnectionResetError, False), (TimeoutError, False), (KeyError, True)])
def test_only_internal_errors_are_logged_in_one_line(
    error: type[Exception], logged: bool, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def facts() -> dict[str, Any]:
        raise error

    with Pages(0, facts) as pages:
        assert pages.server_address[0] == "127.0.0.1", "not reachable from other machines"
        threading.Thread(target=pages.serve_forever, args=(0.05,), daemon=True).start()
        connection = http.client.HTTPConnection(HOST, pages.server_port, timeout=60)
        connection.request("GET", "/health")
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
        connection.close()
        pages.shutdown()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.startswith("a request failed: KeyError") for line in lines] == [True] * logged
    assert capsys.readouterr().err == "", "no traceback"


@pytest.mark.parametrize(("healthy", "status"), [(False, 503), (True, 200)])
def test_health_is_200_only_with_a_model(healthy: bool, status: int) -> None:
    with Pages(0, lambda: {"healthy": healthy, "model": "window" if healthy else ""}) as pages:
        threading.Thread(target=pages.serve_forever, args=(0.05,), daemon=True).start()
        connection = http.client.HTTPConnection(HOST, pages.server_port, timeout=60)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert answer.status == status
        assert json.load(answer)["healthy"] is healthy
        connection.close()
        pages.shutdown()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET /elsewhere HTTP/1.1", 404), ("GET http://[::1 HTTP/1.1", 404), ("POST / HTTP/1.1", 501), ("nonsense", 400)],
)
def test_error_responses_have_the_security_headers_of_pages(
    request_line: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with Pages(0, dict) as pages:
        threading.Thread(target=pages.serve_forever, args=(0.05,), daemon=True).start()
        with socket.create_connection((HOST, pages.server_port), timeout=60) as connection:
            connection.sendall(f"{request_line}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == status
            for name, value in HEADERS.items():
                assert answer.headers.get_all(name) == [value]
            answer.close()
        pages.shutdown()
    assert capfd.readouterr().err == ""


SERVER = """
import os, resource, socket, sys, threading, time
from pynetdicom import AE
from cxr_infer.node.config import Receive, Stow
from cxr_infer.node.dimse_server import NodeServer
from cxr_infer.node.intake import Budget
from cxr_infer.node.pages import Pages
from cxr_infer.node.stow_server import StowServer

tell = lambda *_, **__: None
dimse = AE("NODE")
dimse.add_supported_context("1.2.840.10008.1.1")
servers = {
    "pages": lambda: Pages(0, dict),
    "stow": lambda: StowServer(Receive(), Stow(port=0), None, tell),
    "dimse": lambda: dimse.make_server(
        ("127.0.0.1", 0), server_class=NodeServer, receive=Receive(), budget=Budget(1 << 20, 1 << 20), tell=tell
    ),
}
server = servers[sys.argv[1]]()
"""
AT_ONCE = "os._exit(0)"  # a normal exit would wait for the servers' threads


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
@pytest.mark.parametrize("server", ["pages", "stow", "dimse"])
def test_servers_out_of_file_descriptors_wait_without_spinning(server: str) -> None:
    program = SERVER + USE_UP_DESCRIPTORS + AT_ONCE
    done = subprocess.run([sys.executable, "-c", program, server], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.1, "share of one CPU"
