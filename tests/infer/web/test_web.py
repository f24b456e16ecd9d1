"""`cxr-infer web`: served files, accepted hosts and error messages. The page itself is tested in `examples/web`."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from cxr_infer.errors import UsageError
from cxr_infer.model.card import weights_directory
from cxr_infer.web import server as web
from tests.conftest import REPOSITORY, Run
from tests.descriptors import USE_UP_DESCRIPTORS

CONTENT = {"runtime.mjs": b"export default 1;", "runtime.wasm": b"\0asm"}
RUNTIME = web.Runtime(
    "some-runtime", "1.2.3", {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
)
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def server() -> Iterator[web.PageServer]:
    with web.PageServer(web.served_files(CONTENT), 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: web.PageServer, path: str, host: str | None = None, method: str = "GET") -> Answer:
    """Request a path exactly as given, dots included, and return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host if host is not None else f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    result = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return result


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    """Write a package as `npm pack` does."""
    path = folder / RUNTIME.archive
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def test_the_page_and_its_files_are_served_with_their_types(server: web.PageServer) -> None:
    status, headers, page = ask(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page == (web.PAGE / "index.html").read_bytes()
    assert b"Research use only. Not a medical device." in page
    for path, kind in (
        *((f"/{p.relative_to(web.PAGE).as_posix()}", "text/javascript") for p in web.PAGE.rglob("*.js")),
        *((f"/{p.relative_to(web.PAGE).as_posix()}", "text/css") for p in web.PAGE.rglob("*.css")),
        ("/ort/runtime.mjs", "text/javascript"),
        ("/ort/runtime.wasm", "application/wasm"),
        ("/weights/manifest.json", "application/json"),
        ("/weights/window/model.onnx", "application/octet-stream"),
        ("/weights/window/model.int8.onnx", "application/octet-stream"),
    ):
        status, headers, content = ask(server, path)
        assert status == 200, path
        assert headers["Content-Type"].startswith(kind)
        assert int(headers["Content-Length"]) == len(content) > 0


def test_the_served_models_are_the_installed_ones(server: web.PageServer) -> None:
    for name in ("model.onnx", "model.int8.onnx"):
        assert ask(server, f"/weights/window/{name}")[2] == (weights_directory() / "window" / name).read_bytes()


@pytest.mark.parametrize("path", ["/", "/ort/runtime.wasm", "/no/such/file"])
def test_every_response_isolates_the_page_to_its_own_origin(server: web.PageServer, path: str) -> None:
    _, headers, _ = ask(server, path)
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/assets/../../server.py",
        "/%2e%2e/server.py",
        "/..%2fweb.py",
        "//etc/passwd",
        "/weights/window/card.json",
        "/weights/",
        "/assets/",
        "/assets",
        "/ort",
        "/\\..\\server.py",
        "/index.html%00.js",
        "http://127.0.0.1/../server.py",
    ],
)
def test_no_other_path_is_served(server: web.PageServer, path: str) -> None:
    status, _, content = ask(server, path)
    assert status == 404
    assert content == b"No such file.\n"


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"]
)
def test_another_host_name_is_refused(server: web.PageServer, host: str) -> None:
    status, _, content = ask(server, "/", host.format(port=server.server_port))
    assert status == 421
    assert b"<html" not in content


def test_the_host_name_localhost_is_accepted(server: web.PageServer) -> None:
    assert ask(server, "/", f"localhost:{server.server_port}")[0] == 200


def test_head_has_no_body_and_post_is_refused(server: web.PageServer) -> None:
    status, headers, content = ask(server, "/", method="HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) > 0
    assert ask(server, "/", method="POST")[0] == 501


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://[::1 HTTP/1.1", 400),
        ("GET http://] HTTP/1.1", 400),
        ("GET / HTTP/9.9", 505),
        ("GET / FTP/1.1", 400),
        ("nonsense", 400),
        ("GET /" + "x" * 70_000 + " HTTP/1.1", 414),
        ("POST / HTTP/1.1", 501),
    ],
)
def test_error_responses_have_the_security_headers_of_the_page(
    server: web.PageServer, capfd: pytest.CaptureFixture[str], request_line: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=120) as connection:
        host = f"127.0.0.1:{server.server_port}"
        connection.sendall(f"{request_line}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == status
        for name, value in web.HEADERS.items():
            assert answer.headers.get_all(name) == [value]
        answer.close()
    assert capfd.readouterr().err == ""


SERVER = """
import resource, socket, sys, threading, time
from cxr_infer.web import server as web
server = web.PageServer({"/": b"page"}, 0)
web.TYPES[".html"] = "text/html"
"""
ANSWERS_AGAIN = """
for one in held + waiting:
    one.close()
with socket.create_connection(server.server_address, timeout=120) as asked:
    asked.sendall(f"GET / HTTP/1.1\\r\\nHost: {server.hosts[0]}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    print(asked.recv(100).split()[1].decode())
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_a_server_out_of_file_descriptors_waits_without_spinning() -> None:
    program = SERVER + USE_UP_DESCRIPTORS + ANSWERS_AGAIN
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    share, status = done.stdout.split()
    assert float(share) < 0.1, "share of one CPU"
    assert (status, done.stderr) == ("200", "")


def test_the_server_listens_on_loopback_only(server: web.PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_the_runtime_is_found_where_npm_puts_it(tmp_path: Path) -> None:
    packed = archive(tmp_path, CONTENT)
    assert web.read_runtime(RUNTIME, None, tmp_path) == CONTENT
    assert web.read_runtime(RUNTIME, packed, Path("elsewhere")) == CONTENT
    installed = tmp_path / "project" / "node_modules" / "some-runtime" / "dist"
    installed.mkdir(parents=True)
    for name, content in CONTENT.items():
        (installed / name).write_bytes(content)
    assert web.read_runtime(RUNTIME, None, tmp_path / "project") == CONTENT
    assert web.read_runtime(RUNTIME, installed, tmp_path / "elsewhere") == CONTENT


def test_a_missing_or_altered_runtime_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.tgz").write_bytes(b"no archive")
    empty = tmp_path / "empty"
    empty.mkdir()
    for place in (tmp_path / "broken.tgz", empty, tmp_path / "missing", archive(empty, {"runtime.mjs": b""})):
        with pytest.raises(
            UsageError, match=r"does not contain some-runtime 1\.2\.3; .*`npm pack some-runtime@1\.2\.3`"
        ):
            web.read_runtime(RUNTIME, place, tmp_path)
    changed = archive(tmp_path, {**CONTENT, "runtime.wasm": b"other"})
    with pytest.raises(UsageError, match=r"its runtime\.wasm does not match the hash for version 1\.2\.3"):
        web.read_runtime(RUNTIME, changed, tmp_path)


def test_a_missing_runtime_is_reported_in_one_line_with_advice(run: Run) -> None:
    done = run("cxr-infer", "web", "--no-browser")
    needed = web.needed_runtime()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {needed.package} {needed.version}: not found; run `cxr-infer web --fetch`, or "
        f"`npm pack {needed.package}@{needed.version}` here and then this command again, or give --wasm its path\n"
    )


@pytest.fixture
def small_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a page with a runtime of a few bytes, beside its archive; also for commands run as processes."""
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html>")
    facts = {"package": RUNTIME.package, "version": RUNTIME.version, "sha256": RUNTIME.files}
    (page / web.RUNTIME_FACTS).write_text(json.dumps(facts))
    archive(tmp_path, CONTENT)
    return page


def command(page: Path, *arguments: object) -> list[str]:
    code = "import pathlib, sys; from cxr_infer.web import server; server.PAGE = pathlib.Path(sys.argv.pop(1)); "
    return [
        sys.executable,
        "-c",
        code + "from cxr_infer.cli.commands import main; main()",
        str(page),
        *map(str, arguments),
    ]


def test_a_port_in_use_is_reported_in_one_line(small_runtime: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = command(small_runtime, "web", "--no-browser", "--port", port)
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert done.stderr == f"error: port {port} is in use; give another --port, or 0 for any free port\n"


def test_an_invalid_port_is_refused() -> None:
    with pytest.raises(UsageError, match="port 70000 is invalid"):
        web.PageServer({}, 70000)


def test_a_damaged_page_is_reported_with_advice(monkeypatch: pytest.MonkeyPatch, small_runtime: Path) -> None:
    monkeypatch.setattr(web, "PAGE", small_runtime)
    for content in ("", "{}", "[]"):
        (small_runtime / web.RUNTIME_FACTS).write_text(content)
        with pytest.raises(UsageError, match="missing or damaged; reinstall cxr-infer"):
            web.needed_runtime()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_the_server_with_one_line(small_runtime: Path, tmp_path: Path) -> None:
    words = command(small_runtime, "web", "--no-browser", "--port", 0)
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address.split()[0]):  # it serves, so its line is complete
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_a_display_is_detected_by_its_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not web.has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert web.has_display()


@pytest.mark.slow
def test_the_wheel_contains_the_page_but_no_runtime(tmp_path: Path) -> None:
    files = [path for path in web.PAGE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    assert not [path for path in files if path.suffix in (".wasm", ".onnx")]
    built = next(WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"]))
    carried = {name for name in zipfile.ZipFile(built).namelist() if name.startswith("cxr_infer/web/page/")}
    assert carried == {path.relative_to(REPOSITORY).as_posix() for path in files}
    page = (web.PAGE / "index.html").read_text(encoding="utf-8")
    assert "://" not in page  # no resource from elsewhere
    needed = web.needed_runtime()
    lock = REPOSITORY / "examples" / "web" / "package-lock.json"
    locked = json.loads(lock.read_text(encoding="utf-8"))["packages"][f"node_modules/{needed.package}"]
    assert locked["version"] == needed.version
    guide = (REPOSITORY / "docs" / "guide" / "browser.md").read_text(encoding="utf-8")
    assert f"npm pack {needed.package}@{needed.version}\n" in re.sub(" +#.*", "", guide)
