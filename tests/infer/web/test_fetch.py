"""`cxr-infer web --fetch`: downloads the runtime on request only, and keeps it only if its hashes are right."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cxr_infer.errors import UsageError
from cxr_infer.web import fetch
from cxr_infer.web.server import RUNTIME_FACTS, Runtime

FILES = {"runtime.mjs": b"export default 1;", "runtime.wasm": b"\0asm"}
RUNTIME = Runtime("some-runtime", "1.2.3", {name: sha256(content).hexdigest() for name, content in FILES.items()})


def packed(files: dict[str, bytes]) -> bytes:
    """Return an archive as in npm's registry."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, part in files.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
    return content.getvalue()


class Registry(ThreadingHTTPServer):
    """A registry that serves `contents` by path, else 404, and records the requested paths."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.requested: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        content = self.server.contents.get(self.path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("npm_config_registry", server.url + "/")
        yield server
        server.shutdown()
        thread.join()


PATH = "/some-runtime/-/some-runtime-1.2.3.tgz"


def test_the_archive_is_stored_where_npm_would_put_it(registry: Registry, tmp_path: Path) -> None:
    registry.contents[PATH] = packed(FILES)
    path = fetch.fetch_runtime(RUNTIME, tmp_path)
    assert path == tmp_path / "some-runtime-1.2.3.tgz"
    assert path.read_bytes() == registry.contents[PATH]
    assert registry.requested == [PATH]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be fetched: .*404"),
        (b"no archive", r"does not contain some-runtime 1\.2\.3"),
        (packed({"runtime.mjs": b""}), r"does not match the hash for version 1\.2\.3|does not contain"),
        (packed({**FILES, "runtime.wasm": b"other"}), r"its runtime\.wasm does not match the hash for version 1\.2\.3"),
    ],
)
def test_a_failed_download_leaves_nothing_behind(
    registry: Registry, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        registry.contents[PATH] = content
    with pytest.raises(UsageError, match=problem):
        fetch.fetch_runtime(RUNTIME, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_oversized_response_is_refused(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MOST_ARCHIVE", 1000)
    registry.contents[PATH] = bytes(1001)
    with pytest.raises(UsageError, match="more than 1000 bytes"):
        fetch.fetch_runtime(RUNTIME, tmp_path)


def test_an_invalid_or_unreachable_registry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for invalid in ("file:///etc/passwd", "ftp://example.org", ""):
        monkeypatch.setenv("npm_config_registry", invalid)
        with pytest.raises(UsageError, match="is not a URL"):
            fetch.fetch_runtime(RUNTIME, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}")
    with pytest.raises(UsageError, match=r"cannot be fetched: .*; check the network"):
        fetch.fetch_runtime(RUNTIME, tmp_path)


def test_the_default_registry_is_that_of_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("npm_config_registry", raising=False)
    assert fetch.archive_url(RUNTIME) == f"https://registry.npmjs.org{PATH}"


CODE = """
import pathlib, sys
from cxr_infer.web import server
server.PAGE = pathlib.Path(sys.argv.pop(1))
server.serve = lambda page, announce, open_browser: announce(page.url)
from cxr_infer.cli.commands import main
main()
"""


def test_the_command_downloads_once_on_request_and_names_the_source(registry: Registry, tmp_path: Path) -> None:
    registry.contents[PATH] = packed(FILES)
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html>")
    facts = {"package": RUNTIME.package, "version": RUNTIME.version, "sha256": RUNTIME.files}
    (page / RUNTIME_FACTS).write_text(json.dumps(facts))

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CODE, str(page), "web", "--no-browser", "--port", "0", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    refused = call()
    assert (refused.returncode, registry.requested) == (2, [])
    done = call("--fetch")
    assert done.returncode == 0, done.stderr
    messages = f"downloading {registry.url}{PATH}\ndownloaded some-runtime-1.2.3.tgz; its SHA-256 is correct\n"
    assert done.stderr.startswith(messages)
    assert call("--fetch").returncode == call().returncode == 0
    assert registry.requested == [PATH], "downloaded once"
