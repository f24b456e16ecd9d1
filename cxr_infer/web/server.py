"""The page of `examples/web`, served to a browser on this machine and to nobody else.

The page travels with this package, the models are the installed ones, and onnxruntime's WebAssembly build, three times
as large as everything else together, is taken from npm's package, once fetched. What can be asked for is a closed list
of files, so there is no path to escape by; other sites' pages are kept out by the Host header.
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
RUNTIME_FACTS = "runtime.json"  # in PAGE: which package the page was built with, and the files it loads of it
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
    # isolation, which browsers ask for before a page may share memory between threads
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
    """npm's package of the runtime: its name and version, and of its files that the page loads the hex SHA-256."""

    package: str
    version: str
    files: Mapping[str, str]

    @property
    def archive(self) -> str:
        """What `npm pack` calls it."""
        return f"{self.package}-{self.version}.tgz"

    @property
    def way_out(self) -> str:
        return (
            f"`cxr-infer web --fetch` or `npm pack {self.package}@{self.version}` fetches it; "
            "then run this here again, or give --wasm its path"
        )


def needed_runtime() -> Runtime:
    """What the page was built with. Raises UsageError where there is no page."""
    path = PAGE / RUNTIME_FACTS
    try:
        facts = read_object(path)
        return Runtime(facts["package"], facts["version"], facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: missing or damaged; reinstall cxr-infer") from error


def read_runtime(runtime: Runtime, place: Path | None, here: Path) -> dict[str, bytes]:
    """The files of the runtime, by name. Raises UsageError where they are missing or of another version.

    place: npm's archive or a folder with the files; None for what npm left in `here`, as an archive or installed.
    """
    candidates = (here / runtime.archive, here / "node_modules" / runtime.package / "dist")
    found = place if place is not None else next((path for path in candidates if path.exists()), None)
    if found is None:
        raise UsageError(f"{runtime.package} {runtime.version} was not found; {runtime.way_out}")
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
    """The files of the runtime in npm's archive. Raises UsageError naming `source` where they are not those."""
    try:
        files = dict(_packed(content, runtime))
    except (OSError, tarfile.TarError, zlib.error, KeyError, EOFError) as error:
        raise _other(source, runtime) from error
    return _checked(files, runtime, source)


def _checked(files: dict[str, bytes], runtime: Runtime, source: Path | str) -> dict[str, bytes]:
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != runtime.files[name]:
            raise UsageError(f"{source}: its {name} is not that of {runtime.version}; {runtime.way_out}")
    return files


def _other(source: Path | str, runtime: Runtime) -> UsageError:
    return UsageError(f"{source}: holds no {runtime.package} {runtime.version}; {runtime.way_out}")


def _packed(archive: bytes, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
        for name in runtime.files:
            member = packed.extractfile(f"package/dist/{name}")
            if member is None:
                raise KeyError(name)
            yield name, member.read(MOST_RUNTIME)  # a longer one, be it of nothing but zeros, has another sum


def _laid_out(folder: Path, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    for name in runtime.files:
        yield name, read_content(folder / name, MOST_RUNTIME, "is too much for a file of the runtime")


def served_files(runtime_files: Mapping[str, bytes]) -> dict[str, Content]:
    """Everything that can be asked for, by its path in URLs. Raises ModelError where a model is missing."""
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
    """Answers on this machine's loopback only. Raises UsageError where the port is taken."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would let two servers have one port

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
        """What a browser on this machine calls it. A page of another site that resolves to it comes by another name."""
        return (f"{HOST}:{self.server_port}", f"localhost:{self.server_port}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a connection midway is no fault; anything else is one of ours, or a lack of threads."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            print_error(f"a request was not answered: {fault_line(error)}")
            LOG.error("%s", traceback_of(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"cxr-infer/{__version__}", ""
    default_request_version = "HTTP/1.0"  # of requests that are none: the answer to them has headers too
    timeout = 60.0  # seconds that a connection may stay silent

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server = cast(PageServer, self.server)
        if self.headers.get("Host") not in server.hosts:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"This server answers to its own address only.\n", with_body)
            return
        try:
            path = urlsplit(self.path).path
        except ValueError:  # as of `http://[::1`
            self._send(HTTPStatus.BAD_REQUEST, b"This is no address.\n", with_body)
            return
        file = server.files.get(path)
        try:
            content = file.read_bytes() if isinstance(file, Path) else file
        except OSError as error:  # removed or replaced since the start
            if error.errno in SHORT_OF:
                self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"Too much at once; try again.\n", with_body)
                return
            content = None
        if content is None:
            self._send(HTTPStatus.NOT_FOUND, b"There is no such file.\n", with_body)
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
        """With what every answer says, those of the base class to requests that are none as well."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: what a browser asks for is of no interest."""


def has_display() -> bool:
    """Whether a browser that is opened would be seen."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def serve(server: PageServer, announce: Callable[[str], None], *, open_browser: bool) -> None:
    """Tell the address, then answer until Ctrl-C, which from here on is no error."""
    try:
        announce(server.url)
        if open_browser and has_display():
            webbrowser.open(server.url)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
