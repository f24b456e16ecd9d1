"""DICOM radiographs in and out. Importing this needs no pydicom; reading a file does (extra `dicom`)."""

from __future__ import annotations

from pathlib import Path

from cxr_infer.errors import ImageError
from cxr_infer.radiograph import Radiograph
from cxr_infer.settings import ReadOptions

DICOM_HEAD = 132  # bytes: a preamble of 128 that may hold anything, then DICM (PS3.10 section 7.1)


def is_dicom(head: bytes) -> bool:
    """Whether the first DICOM_HEAD bytes of a file are those of a DICOM file."""
    return head[128:DICOM_HEAD] == b"DICM"


def read_dicom(path: Path, content: bytes, reading: ReadOptions) -> Radiograph:
    """Decode a CR, DX or single-frame grayscale Secondary Capture.

    path: for messages. content: the whole file. reading: how many pixels it may promise.
    Raises ImageError where it is damaged, of another kind, too large, or cannot be decoded for want of a package;
    AlreadyDenoised where it is a result of cxr-infer itself.
    """
    try:
        from cxr_infer.dicom.radiograph import read
    except ImportError as error:
        raise ImageError(f"{path}: a DICOM file; reading it needs pip install 'cxr-infer[dicom]'") from error
    return read(path, content, reading)
