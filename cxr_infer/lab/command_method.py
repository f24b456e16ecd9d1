"""Any program as a method: it is given a noisy 16-bit PNG and a place for its result."""

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
from cxr_infer.lab.noise import Told

PLACEHOLDERS = ("{in}", "{out}")
TIMEOUT = 600.0  # seconds for one image
LOOK_EVERY = 0.2  # seconds between two looks whether a stop was asked for
GRACE = 1.0  # seconds that a program has to end once it is asked to
LONGEST = 200  # characters of what a program said that are shown


def is_command(text: str) -> bool:
    """Whether a method is given as a command."""
    return any(placeholder in text for placeholder in PLACEHOLDERS)


class CommandMethod:
    """`prog {in} {out}` as a method: started without a shell, once for each image, where this program was started.

    Its result may be a PNG, or any other picture that this program reads, of 8 or 16 bits.
    """

    def __init__(self, command: str, timeout: float = TIMEOUT) -> None:
        """Raises UsageError for a command without both placeholders, or with a quote that has no end."""
        try:
            self._parts = shlex.split(command)
        except ValueError as error:
            raise UsageError(
                f"method {command!r}: {error}; write it as in a shell, such as 'prog {{in}} {{out}}'"
            ) from error
        missing = [one for one in PLACEHOLDERS if not any(one in part for part in self._parts)]
        if missing:
            raise UsageError(f"method {command!r}: says nowhere {missing[0]}; write it such as 'prog {{in}} {{out}}'")
        self.name = command
        self._timeout = timeout
        self._stopped: Callable[[], bool] = lambda: False

    def until(self, stopped: Callable[[], bool]) -> CommandMethod:
        """The same, whose program is ended when a stop is asked for."""
        found = copy.copy(self)
        found._stopped = stopped
        return found

    def __call__(self, noisy: FloatImage, told: Told | None = None) -> FloatImage:
        """Raises ModelError where the program cannot be run, fails, takes too long, is ended or leaves no image."""
        with tempfile.TemporaryDirectory(prefix="cxr-infer-lab-") as folder:
            source, target = Path(folder) / "in.png", Path(folder) / "out.png"
            write_image(source, from_unit(noisy, np.dtype(np.uint16)))
            self._run([part.replace("{in}", str(source)).replace("{out}", str(target)) for part in self._parts])
            if not target.is_file():
                raise ModelError(f"method {self.name!r}: ended well but wrote no {{out}}; does it take that path?")
            try:
                return to_unit(read_gray(target))
            except CxrError as error:
                raise ModelError(f"method {self.name!r}: its result cannot be read: {error}") from error

    def _run(self, arguments: list[str]) -> None:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # so that what it starts can be ended with it
            )
        except OSError as error:
            raise ModelError(
                f"method {self.name!r}: {arguments[0]} cannot be run: {error.strerror or error}"
            ) from error
        try:
            out, err = self._awaited(process)
        except BaseException:
            _end(process)
            raise
        if process.returncode:
            said = [line.strip() for line in (err or out).splitlines() if line.strip()]
            why = f": {said[-1][:LONGEST]}" if said else ""
            raise ModelError(f"method {self.name!r}: ended with exit status {process.returncode}{why}")

    def _awaited(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """What it said on stdout and stderr. Raises ModelError where it takes too long or a stop is asked for."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return process.communicate(timeout=LOOK_EVERY)
            except subprocess.TimeoutExpired:
                if self._stopped():
                    raise ModelError(f"method {self.name!r}: was ended, since a stop was asked for") from None
                if time.monotonic() > deadline:
                    raise ModelError(
                        f"method {self.name!r}: took more than {self._timeout:g} s for one image; leave it out"
                    ) from None


def _end(process: subprocess.Popen[str]) -> None:
    """End a program with all that it started: asked first, then at once."""
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
