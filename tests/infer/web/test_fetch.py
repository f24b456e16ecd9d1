"""`cxr-infer web --fetch`: the runtime from a registry, when it is asked for, and only what has the right hashes."""

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
    """An archive as npm's registry has it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, part in files.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
    return content.getvalue()


class Registry(ThreadingHTTPServer):
    """Answers each path with what is put there, else 404; remembers what was asked for."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.contents.get(self.path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


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


def test_what_is_fetched_is_what_npm_would_have_left(registry: Registry, tmp_path: Path) -> None:
    registry.contents[PATH] = packed(FILES)
    path = fetch.fetch_runtime(RUNTIME, tmp_path)
    assert path == tmp_path / "some-runtime-1.2.3.tgz"
    assert path.read_bytes() == registry.contents[PATH]
    assert registry.asked == [PATH]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be fetched: .*404"),
        (b"no archive", r"does not contain some-runtime 1\.2\.3"),
        (packed({"runtime.mjs": b""}), r"does not match the hash for version 1\.2\.3|does not contain"),
        (packed({**FILES, "runtime.wasm": b"other"}), r"its runtime\.wasm does not match the hash for version 1\.2\.3"),
    ],
)
def test_anything_else_leaves_nothing_behind(
    registry: Registry, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        registry.contents[PATH] = content
    with pytest.raises(UsageError, match=problem):
        fetch.fetch_runtime(RUNTIME, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_answer_without_end_is_given_up(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MOST_ARCHIVE", 1000)
    registry.contents[PATH] = bytes(1001)
    with pytest.raises(UsageError, match="more than 1000 bytes"):
        fetch.fetch_runtime(RUNTIME, tmp_path)


def test_a_registry_that_is_none_or_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for none in ("file:///etc/passwd", "ftp://example.org", ""):
        monkeypatch.setenv("npm_config_registry", none)
        with pytest.raises(UsageError, match="is not a URL"):
            fetch.fetch_runtime(RUNTIME, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}")
    with pytest.raises(UsageError, match=r"cannot be fetched: .*; check the network"):
        fetch.fetch_runtime(RUNTIME, tmp_path)


def test_the_default_is_npms_own(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_command_fetches_once_and_says_from_where_and_never_unasked(registry: Registry, tmp_path: Path) -> None:
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
    assert (refused.returncode, registry.asked) == (2, [])
    done = call("--fetch")
    assert done.returncode == 0, done.stderr
    told = f"downloading {registry.url}{PATH}\ndownloaded some-runtime-1.2.3.tgz; its SHA-256 is correct\n"
    assert done.stderr.startswith(told)
    assert call("--fetch").returncode == call().returncode == 0
    assert registry.asked == [PATH], "once"
