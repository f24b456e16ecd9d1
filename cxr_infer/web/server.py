"""Serve the page of `examples/web` to browsers on this machine only.

The page is part of this package and the models are the installed ones. onnxruntime's WebAssembly build, three times as
large as everything else together, comes from npm's package. Requests are answered from a fixed list of files, so no
path can escape; pages of other sites are kept out by the Host header.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import sys
import tarfile
import webbrowser
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from cxr_infer.errors import ImageError, ModelError, UsageError
from cxr_infer.faults import fault_line, traceback_of
from cxr_infer.files import read_content, read_object
from cxr_infer.model.card import FP32, INT8, weights_directory
from cxr_infer.model.installed import model_path
from cxr_infer.model.manifest import MANIFEST
from cxr_infer.patient_server import SHORT_OF, PatientServer
from cxr_infer.report.text import print_error
from cxr_infer.settings import WEB_PORT
from cxr_infer.version import __version__

HOST = "127.0.0.1"
PAGE = Path(__file__).resolve().parent / "page"
RUNTIME_FACTS = "runtime.json"  # in PAGE: the runtime package the page was built with, and the files it loads from it
MODEL = "window"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
HEADERS = {
    "Cache-Control": "no-cache",
    # browsers require isolation before a page may share memory between threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

MOST_RUNTIME = 100_000_000  # bytes of one file of the runtime

LOG = logging.getLogger(__name__)

Content = bytes | Path


@dataclass(frozen=True)
class Runtime:
    """npm's package of the runtime: name, version, and the hex SHA-256 of the files that the page loads."""

    package: str
    version: str
    files: Mapping[str, str]

    @property
    def archive(self) -> str:
        """File name given by `npm pack`."""
        return f"{self.package}-{self.version}.tgz"

    @property
    def way_out(self) -> str:
        return (
            f"run `cxr-infer web --fetch`, or `npm pack {self.package}@{self.version}` here and then this command "
            "again, or give --wasm its path"
        )


def needed_runtime() -> Runtime:
    """Return the runtime the page was built with. Raises UsageError if the page is missing or damaged."""
    path = PAGE / RUNTIME_FACTS
    try:
        facts = read_object(path)
        return Runtime(facts["package"], facts["version"], facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: missing or damaged; reinstall cxr-infer") from error


def read_runtime(runtime: Runtime, place: Path | None, here: Path) -> dict[str, bytes]:
    """Return the runtime's files by name. Raises UsageError if they are missing or of another version.

    place: npm's archive or a folder with the files; None for what npm left in `here`, packed or installed.
    """
    candidates = (here / runtime.archive, here / "node_modules" / runtime.package / "dist")
    found = place if place is not None else next((path for path in candidates if path.exists()), None)
    if found is None:
        raise UsageError(f"{runtime.package} {runtime.version}: not found; {runtime.way_out}")
    if not found.is_dir():
        try:
            content = read_content(found, MOST_RUNTIME, "is too much for the runtime")
        except (OSError, ImageError) as error:
            raise _other(found, runtime) from error
        return read_archive(content, runtime, found)
    try:
        return _checked(dict(_laid_out(found, runtime)), runtime, found)
    except (OSError, ImageError) as error:
        raise _other(found, runtime) from error


def read_archive(content: bytes, runtime: Runtime, source: Path | str) -> dict[str, bytes]:
    """Return the runtime's files from npm's archive. Raises UsageError naming `source` if it lacks them."""
    try:
        files = dict(_packed(content, runtime))
    except (OSError, tarfile.TarError, zlib.error, KeyError, EOFError) as error:
        raise _other(source, runtime) from error
    return _checked(files, runtime, source)


def _checked(files: dict[str, bytes], runtime: Runtime, source: Path | str) -> dict[str, bytes]:
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != runtime.files[name]:
            raise UsageError(
                f"{source}: its {name} does not match the hash for version {runtime.version}; {runtime.way_out}"
            )
    return files


def _other(source: Path | str, runtime: Runtime) -> UsageError:
    return UsageError(f"{source}: does not contain {runtime.package} {runtime.version}; {runtime.way_out}")


def _packed(archive: bytes, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
        for name in runtime.files:
            member = packed.extractfile(f"package/dist/{name}")
            if member is None:
                raise KeyError(name)
            yield name, member.read(MOST_RUNTIME)  # a longer file fails its hash


def _laid_out(folder: Path, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    for name in runtime.files:
        yield name, read_content(folder / name, MOST_RUNTIME, "is too much for a file of the runtime")


def served_files(runtime_files: Mapping[str, bytes]) -> dict[str, Content]:
    """Return all files the server offers, by URL path. Raises ModelError if a model is missing."""
    page = {f"/{path.relative_to(PAGE).as_posix()}": path for path in PAGE.rglob("*") if path.suffix in TYPES}
    manifest = weights_directory() / MANIFEST
    if not manifest.is_file():
        raise ModelError(f"{manifest}: no manifest; reinstall cxr-infer")
    models = [model_path(MODEL, precision) for precision in (FP32, INT8)]
    return {
        **page,
        "/": PAGE / "index.html",
        f"/weights/{MANIFEST}": manifest,
        **{f"/weights/{MODEL}/{path.name}": path for path in models},
        **{f"/ort/{name}": content for name, content in runtime_files.items()},
    }


class PageServer(PatientServer, ThreadingHTTPServer):
    """An HTTP server on the loopback address only. Raises UsageError if the port is taken."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would let two servers share a port

    def __init__(self, files: Mapping[str, Content], port: int = WEB_PORT) -> None:
        self.files = files
        try:
            super().__init__((HOST, port), _Handler)
        except OverflowError as error:
            raise UsageError(f"port {port} is invalid; use 1 to 65535, or 0 for any free port") from error
        except OSError as error:
            taken = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror or error}"
            raise UsageError(f"port {port} {taken}; give another --port, or 0 for any free port") from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The Host headers of browsers on this machine. Another site's page that resolves to it sends its own name."""
        return (f"{HOST}:{self.server_port}", f"localhost:{self.server_port}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that close a connection midway; report anything else, a bug here or a lack of threads."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            print_error(f"a request failed: {fault_line(error)}")
            LOG.error("%s", traceback_of(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"cxr-infer/{__version__}", ""
    default_request_version = "HTTP/1.0"  # for malformed requests, so that their responses have headers too
    timeout = 60.0  # seconds that a connection may stay silent

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server = cast(PageServer, self.server)
        if self.headers.get("Host") not in server.hosts:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"This server answers only to its own address.\n", with_body)
            return
        try:
            path = urlsplit(self.path).path
        except ValueError:  # such as `http://[::1`
            self._send(HTTPStatus.BAD_REQUEST, b"Invalid address.\n", with_body)
            return
        file = server.files.get(path)
        try:
            content = file.read_bytes() if isinstance(file, Path) else file
        except OSError as error:  # removed or replaced since the start
            if error.errno in SHORT_OF:
                self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"Too many requests; try again.\n", with_body)
                return
            content = None
        if content is None:
            self._send(HTTPStatus.NOT_FOUND, b"No such file.\n", with_body)
        else:
            kind = TYPES[Path("index.html" if path == "/" else path).suffix]
            self._send(HTTPStatus.OK, content, with_body, kind)

    def _send(
        self, status: HTTPStatus, content: bytes, with_body: bool, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def end_headers(self) -> None:
        """Add the common headers, also to the base class's responses to malformed requests."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: requests of the page are of no interest."""


def has_display() -> bool:
    """Whether an opened browser would be visible."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def serve(server: PageServer, announce: Callable[[str], None], *, open_browser: bool) -> None:
    """Announce the address, then serve until Ctrl-C, which is not an error."""
    try:
        announce(server.url)
        if open_browser and has_display():
            webbrowser.open(server.url)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
