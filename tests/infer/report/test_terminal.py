"""On a terminal there is a live bar; NO_COLOR wins over FORCE_COLOR."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.formats.readers import write_image
from tests.conftest import COMMAND

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")


def on_a_terminal(folder: Path, **environment: str) -> tuple[str, str]:
    """Run `cxr-infer dir` with stderr on a pseudo-terminal; return the output on stdout and on the terminal."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "dir", str(folder), "--overwrite"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as process:
        os.close(theirs)
        seen = bytearray()
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux reports the end of a terminal as an error
                break
            if not chunk:
                break
            seen += chunk
        assert process.stdout is not None
        stdout = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    return stdout, seen.decode()


@pytest.mark.slow
def test_a_terminal_shows_a_live_bar_and_stdout_plain_results(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    for index in range(3):
        write_image(tmp_path / "x" / f"{index}.png", noisy_bytes[:64, :64])
    stdout, terminal = on_a_terminal(tmp_path / "x")
    assert "denoising" in terminal
    assert "3/3" in terminal
    assert "\x1b[" in terminal
    assert "\x1b" not in stdout
    stdout, terminal = on_a_terminal(tmp_path / "x", NO_COLOR="1", FORCE_COLOR="1")
    assert "\x1b" not in stdout
    assert not COLOUR.search(terminal)
    stdout, terminal = on_a_terminal(tmp_path / "x", FORCE_COLOR="1")
    assert "\x1b[" in stdout
    assert COLOUR.search(terminal)
