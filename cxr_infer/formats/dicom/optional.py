"""Read DICOM files if pydicom is installed (extra `dicom`); otherwise raise an error that says how to install it."""

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
    """Decode a single-frame grayscale X-ray: CR, DX, MG, IO, XA, RF or Secondary Capture.

    path: for messages. content: the whole file. reading: size limit and inversion.
    Raises ImageError if it is damaged, too large, or needs a package that is not installed; NoRadiograph if it is DICOM
    of another type, such as a report or a CT slice; AlreadyDenoised if it is a result of cxr-infer.
    """
    with _pydicom_needed(path):
        from cxr_infer.formats.dicom.reader import read
    return read(path, content, reading)


def read_dicom_pixels(path: Path, content: bytes, reading: ReadOptions) -> NDArray[np.integer[Any]]:
    """Return the stored values of a DICOM X-ray, (H, W) int8, uint8, int16 or uint16; results of cxr-infer included.

    Raises ImageError and NoRadiograph as `read_dicom` does.
    """
    with _pydicom_needed(path):
        from cxr_infer.formats.dicom.reader import read_pixels
    return read_pixels(path, content, reading)


@contextlib.contextmanager
def _pydicom_needed(path: Path) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImageError(f"{path}: reading DICOM needs more packages; run: {install_command('dicom')}") from error
