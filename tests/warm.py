"""`cxr-infer` as separate processes forked after all imports, which saves half a second each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

# forks a process for each request and gives it the arguments, directory and standard files of a new process
SERVER = """
import gc, json, os, socket, sys
from contextlib import suppress
import cxr_infer.cli.commands, cxr_infer.cli.compare, cxr_infer.cli.directory, cxr_infer.cli.file_command
import cxr_infer.report.html
import numpy.fft, PIL.GifImagePlugin, PIL.PpmImagePlugin, rich._emoji_codes
with suppress(ImportError):  # imported by typer for the first option, in versions that use it
    import pydantic, typer._adapters, typer._coercion
with suppress(ImportError):
    import cxr_infer.formats.dicom.reader
    import cxr_infer.node.care, cxr_infer.node.dry_run, cxr_infer.node.service
from cxr_infer.__main__ import main

assert len(os.listdir("/proc/self/task")) == 1, "a fork copies only the calling thread"
asked = socket.socket(fileno=int(sys.argv.pop(1)))
gc.freeze()
while True:
    request, files, *_ = socket.recv_fds(asked, 1 << 20, 3)
    if not request:
        sys.exit()
    process = os.fork()
    if process == 0:
        break
    for file in files:
        os.close(file)
    asked.send(str(process).encode())
    asked.send(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
asked.close()
for number, file in enumerate(files):
    os.dup2(file, number)
    os.close(file)
given = json.loads(request)
os.chdir(given["folder"])
os.environ.clear()
os.environ.update(given["environment"])
sys.argv[1:] = given["arguments"]
exec(given["first"], {})
main()
"""
POSSIBLE = sys.platform == "linux"  # elsewhere sockets do not separate messages, or cannot pass files


class WarmCommand:
    """The server that forks a process for each call. environment: of all of them, except PYTEST_CURRENT_TEST."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def close(self) -> None:
        self._socket.close()
        self._server.wait()

    def fits(self, environment: dict[str, str]) -> bool:
        """Whether a process with that environment can be forked here: its modules would import in the same way."""
        return all(
            environment.get(name) == self.environment.get(name)
            for name in (environment.keys() | self.environment.keys()) - {"PYTEST_CURRENT_TEST"}
        )

    def run(
        self, arguments: list[str], folder: Path, environment: dict[str, str], seconds: float, first: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the command like `subprocess.run` with captured text. first: Python to run before it."""
        with ExitStack() as opened:
            nothing = opened.enter_context(Path(os.devnull).open("rb"))
            pairs = [os.pipe() for _ in range(2)]
            readers = [opened.enter_context(os.fdopen(reader)) for reader, _ in pairs]
            request = {"arguments": arguments, "folder": str(folder), "environment": environment, "first": first}
            socket.send_fds(
                self._socket, [json.dumps(request).encode()], [nothing.fileno(), *(writer for _, writer in pairs)]
            )
            for _, writer in pairs:
                os.close(writer)
            read = opened.enter_context(ThreadPoolExecutor(len(readers)))
            said = [read.submit(reader.read) for reader in readers]
            process = int(self._socket.recv(100))
            self._socket.settimeout(seconds)
            try:
                status = int(self._socket.recv(100))
            except TimeoutError:
                os.kill(process, 9)
                self._socket.settimeout(None)
                self._socket.recv(100)
                raise subprocess.TimeoutExpired(arguments, seconds) from None
            return subprocess.CompletedProcess(arguments, status, *(text.result() for text in said))
