"""The exceptions of this project.

    CxrError                    base of all of them: the message is one line for the user
    ├── UsageError(ValueError)  invalid request: option, path or range
    ├── ImageError(ValueError)  an image cannot be read, converted or written
    │   ├── OutputLostError     no image can be written: the disk is full, read-only or gone
    │   ├── AlreadyDenoised     the image is already a result of cxr-infer
    │   └── NoRadiograph        DICOM other than an X-ray, such as a report
    ├── ModelError(ValueError)  a model file or its card is missing, damaged or incompatible
    └── DataError(ValueError)   a directory of training data cannot be used

Every message names the file, the problem and the way out.
"""

from __future__ import annotations


class CxrError(Exception):
    """Base class of all errors that this project raises."""


class UsageError(CxrError, ValueError):
    """The request is invalid."""


class ImageError(CxrError, ValueError):
    """An image cannot be read, converted or written."""


class OutputLostError(ImageError):
    """The output is lost: no further image can be written."""


class AlreadyDenoised(ImageError):  # noqa: N818 - not an error of the file
    """An image is already a result of cxr-infer."""


class NoRadiograph(ImageError):  # noqa: N818 - not an error of the file
    """A file is DICOM, but not an X-ray."""


class ModelError(CxrError, ValueError):
    """A model file or its card is missing, damaged or incompatible."""


class DataError(CxrError, ValueError):
    """A directory of training images cannot be used."""
