"""Independent programs that check results."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SETTLED = 120.0  # s within which a server starts, even on a busy machine
OWN = Path(sys.executable).parent  # contains programs of pynetdicom with the names of DCMTK's


def program(name: str) -> str:
    """Return the path of a program, or skip the test if it is not installed, as it is in CI."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder and Path(folder) != OWN]
    found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin"]))
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install dcmtk dicom3tools libgdcm-tools orthanc systemd")
    return found


@contextmanager
def server(port: int, name: str, *arguments: object) -> Iterator[None]:
    """Run a server on this machine until the block ends; the block starts once the server listens."""
    process = subprocess.Popen(
        [program(name), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + SETTLED
        while True:
            assert process.poll() is None, f"{name} ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, f"{name} does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.kill()  # its data is not needed; an orderly exit of Orthanc takes seconds
        process.wait(timeout=30)
