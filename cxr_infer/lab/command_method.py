"""Any program as a method: it gets a noisy 16-bit PNG and a path for its result."""

from __future__ import annotations

import contextlib
import copy
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cxr_infer.errors import CxrError, ModelError, UsageError
from cxr_infer.formats.readers import read_gray, write_image
from cxr_infer.imaging.pixels import FloatImage, from_unit, to_unit
from cxr_infer.lab.noise import KnownNoise

PLACEHOLDERS = ("{in}", "{out}")
TIMEOUT = 600.0  # seconds for one image
LOOK_EVERY = 0.2  # seconds between checks whether a stop was requested
GRACE = 1.0  # seconds a program has to end after it is asked to
LONGEST = 200  # characters of a program's output shown in a message


def is_command(text: str) -> bool:
    """Whether a method is given as a command."""
    return any(placeholder in text for placeholder in PLACEHOLDERS)


class CommandMethod:
    """`prog {in} {out}` as a method: run without a shell, once per image, in the current directory.

    Its result may be a PNG or any other picture of 8 or 16 bits that cxr-infer reads.
    """

    def __init__(self, command: str, timeout: float = TIMEOUT) -> None:
        """Raises UsageError for a command without both placeholders, or with an unclosed quote."""
        try:
            self._parts = shlex.split(command)
        except ValueError as error:
            raise UsageError(
                f"method {command!r}: {error}; write it as in a shell, such as 'prog {{in}} {{out}}'"
            ) from error
        missing = [one for one in PLACEHOLDERS if not any(one in part for part in self._parts)]
        if missing:
            raise UsageError(
                f"method {command!r}: lacks {missing[0]}; write it as in a shell, such as 'prog {{in}} {{out}}'"
            )
        self.name = command
        self._timeout = timeout
        self._stopped: Callable[[], bool] = lambda: False

    def until(self, stopped: Callable[[], bool]) -> CommandMethod:
        """Return a copy whose program is ended when a stop is requested."""
        found = copy.copy(self)
        found._stopped = stopped
        return found

    def __call__(self, noisy: FloatImage, told: KnownNoise | None = None) -> FloatImage:
        """Raises ModelError if the program cannot run, fails, takes too long, is stopped or leaves no such image."""
        with tempfile.TemporaryDirectory(prefix="cxr-infer-lab-") as folder:
            source, target = Path(folder) / "in.png", Path(folder) / "out.png"
            write_image(source, from_unit(noisy, np.dtype(np.uint16)))
            self._run([part.replace("{in}", str(source)).replace("{out}", str(target)) for part in self._parts])
            if not target.is_file():
                raise ModelError(f"method {self.name!r}: succeeded but wrote no {{out}}; does it use that path?")
            try:
                return to_unit(read_gray(target))
            except CxrError as error:
                raise ModelError(
                    f"method {self.name!r}: its result cannot be read: {error}; make it write a gray picture"
                ) from error

    def _run(self, arguments: list[str]) -> None:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # so that its children can be ended with it
            )
        except OSError as error:
            raise ModelError(
                f"method {self.name!r}: cannot run {arguments[0]}: {error.strerror or error}; check the path"
            ) from error
        try:
            out, err = self._awaited(process)
        except BaseException:
            _end(process)
            raise
        if process.returncode:
            said = [line.strip() for line in (err or out).splitlines() if line.strip()]
            why = f": {said[-1][:LONGEST]}" if said else ""
            raise ModelError(f"method {self.name!r}: failed with exit status {process.returncode}{why}")

    def _awaited(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Return its stdout and stderr. Raises ModelError if it takes too long or a stop is requested."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return process.communicate(timeout=LOOK_EVERY)
            except subprocess.TimeoutExpired:
                if self._stopped():
                    raise ModelError(f"method {self.name!r}: ended, because a stop was requested") from None
                if time.monotonic() > deadline:
                    raise ModelError(
                        f"method {self.name!r}: took more than {self._timeout:g} s for one image; omit it"
                    ) from None


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and everything it started: ask first, then kill."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, number)
            else:
                process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
