"""Other people's programs, with which results are proven."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

OWN = Path(sys.executable).parent  # where pynetdicom has programs of the same names as DCMTK's


def program(name: str) -> str:
    """The path of a program; CI installs them all, elsewhere the test says which one it misses."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder and Path(folder) != OWN]
    found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin"]))
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install dcmtk dicom3tools libgdcm-tools orthanc")
    return found
