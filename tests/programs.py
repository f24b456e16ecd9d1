"""Other people's programs, with which results are proven."""

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

SETTLED = 120.0  # s within which a server on this machine is up, however busy that is
OWN = Path(sys.executable).parent  # where pynetdicom has programs of the same names as DCMTK's


def program(name: str) -> str:
    """The path of a program; CI installs them all, elsewhere the test says which one it misses."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder and Path(folder) != OWN]
    found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin"]))
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install dcmtk dicom3tools libgdcm-tools orthanc systemd")
    return found


@contextmanager
def server(port: int, name: str, *arguments: object) -> Iterator[None]:
    """Run a server on this machine until the block ends; it is up once it listens."""
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
        process.kill()  # its data is a test's; Orthanc would take seconds to end in order
        process.wait(timeout=30)
