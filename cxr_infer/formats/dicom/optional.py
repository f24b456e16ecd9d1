"""Reading DICOM files where pydicom is installed (extra `dicom`), and a word where it is not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError
from cxr_infer.extras import install_command
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.settings import ReadOptions


def read_dicom(path: Path, content: bytes, reading: ReadOptions) -> Radiograph:
    """Decode a single grayscale X-ray: CR, DX, mammogram, intraoral, one frame of XA or RF, or Secondary Capture.

    path: for messages. content: the whole file. reading: how many pixels it may promise.
    Raises ImageError where it is damaged, too large, or cannot be decoded for want of a package; NoRadiograph where it
    is of another kind, such as a report or a CT slice; AlreadyDenoised where it is a result of cxr-infer itself.
    """
    with _pydicom_needed(path):
        from cxr_infer.formats.dicom.reader import read
    return read(path, content, reading)


def read_dicom_pixels(path: Path, content: bytes, reading: ReadOptions) -> NDArray[np.integer[Any]]:
    """The stored values of a DICOM X-ray, (H, W), 8 or 16 bits, be it a result of cxr-infer or not.

    Raises ImageError as `read_dicom`.
    """
    with _pydicom_needed(path):
        from cxr_infer.formats.dicom.reader import read_pixels
    return read_pixels(path, content, reading)


@contextlib.contextmanager
def _pydicom_needed(path: Path) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImageError(f"{path}: a DICOM file; reading it needs {install_command('dicom')}") from error
