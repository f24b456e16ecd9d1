"""DICOM in and out. Placeholder of the branch that brings it."""

from __future__ import annotations

from pathlib import Path

from cxr_infer.errors import ImageError
from cxr_infer.radiograph import Radiograph, Reading

DICOM_HEAD = 132  # bytes


def is_dicom(head: bytes) -> bool:
    return head[128:132] == b"DICM"


def read_dicom(path: Path, content: bytes, reading: Reading) -> Radiograph:
    raise ImageError(f"{path}: DICOM")
