"""The exceptions that this project raises on purpose.

    CxrError                    base of all of them: the message is one line for the user
    ├── UsageError(ValueError)  the request makes no sense: option, path or range
    ├── ImageError(ValueError)  one image cannot be read, converted or written
    │   ├── OutputLostError     nor could any other: the disk is full, read-only or gone
    │   ├── AlreadyDenoised     already a result of cxr-infer: nothing to do
    │   └── NoRadiograph        it is DICOM of another kind, such as a report: ignored
    ├── ModelError(ValueError)  a model file or its card is missing, damaged or does not fit
    └── DataError(ValueError)   a training data directory cannot be used

Every message names the file, the problem and the way out.
"""

from __future__ import annotations


class CxrError(Exception):
    """Base of every error that this project raises on purpose."""


class UsageError(CxrError, ValueError):
    """The request is invalid."""


class ImageError(CxrError, ValueError):
    """One image cannot be read, converted or written."""


class OutputLostError(ImageError):
    """No image can be written any more."""


class AlreadyDenoised(ImageError):  # noqa: N818 - not an error of the file, but the end of a loop
    """One image is already a result of cxr-infer."""


class NoRadiograph(ImageError):  # noqa: N818 - not an error of the file either
    """One file is DICOM, but not an X-ray."""


class ModelError(CxrError, ValueError):
    """A model file or its card is missing, damaged or does not match."""


class DataError(CxrError, ValueError):
    """A directory of training images cannot be used."""
