"""Reading DICOM files where pydicom is installed (extra `dicom`), and a word where it is not."""

from __future__ import annotations

from pathlib import Path

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
    try:
        from cxr_infer.formats.dicom.reader import read
    except ImportError as error:
        raise ImageError(f"{path}: a DICOM file; reading it needs {install_command('dicom')}") from error
    return read(path, content, reading)
