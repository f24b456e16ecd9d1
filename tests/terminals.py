"""Commands on a pseudo-terminal of a given width, as seen by a user."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")
ROWS = 50
PATIENCE = 240.0  # s


class Terminal:
    """A process and its terminal. seen: everything that it wrote there, including escape sequences."""

    def __init__(self, process: Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.seen = ""
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, until: str | None = None, seconds: float = PATIENCE) -> str:
        """Read until the text matches the pattern, or to the end. Return the text so far, without escape sequences."""
        deadline = time.monotonic() + seconds
        while until is None or not re.search(until, self.text):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                raise AssertionError(f"{until or 'the end'} did not come in {seconds:g} s, but: {self.text[-2000:]}")
            try:
                chunk = os.read(self._descriptor, 65536)
            except OSError:  # Linux reports the end of a terminal as an error
                chunk = b""
            if not chunk:
                assert until is None, f"ended without {until}: {self.text[-2000:]}"
                break
            self.seen += self._decoder.decode(chunk)  # a chunk may end within a character
        return self.text

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.seen)

    @property
    def lines(self) -> list[str]:
        """Every line that was ever shown, including those of progress bars."""
        return [line for line in re.split(r"[\r\n]+", self.text) if line.strip()]


@contextmanager
def terminal(
    command: Sequence[str], columns: int, cwd: Path, *, stdout: bool = True, **environment: str
) -> Iterator[Terminal]:
    """Run a command on a terminal of that many columns. stdout: whether it goes to the terminal or is discarded."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    unwanted = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    inherited = {key: value for key, value in os.environ.items() if key not in unwanted}
    process = Popen(
        command,
        cwd=cwd,
        stdin=theirs,
        stdout=theirs if stdout else subprocess.DEVNULL,
        stderr=theirs,
        env={**inherited, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    with process:
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)
