"""The exceptions that this project raises on purpose.

    CxrError                    base of all of them: the message is one line for the user
    ├── UsageError(ValueError)  the request makes no sense: option, path or range
    ├── ImageError(ValueError)  one image cannot be read, converted or written
    │   ├── OutputLostError     nor could any other: the disk is full, read-only or gone
    │   ├── AlreadyDenoised     it is a result of this program already: nothing to be done
    │   └── NoRadiograph        it is DICOM of another kind, such as a report: ignored
    ├── ModelError(ValueError)  a model file or its card is missing, damaged or does not fit
    └── DataError(ValueError)   a training data directory cannot be used

Every message names the file, the problem and the way out.
"""

from __future__ import annotations


class CxrError(Exception):
    """Base of every error that this project raises on purpose."""


class UsageError(CxrError, ValueError):
    """The request itself makes no sense."""


class ImageError(CxrError, ValueError):
    """One image cannot be read, converted or written."""


class OutputLostError(ImageError):
    """One image cannot be written, nor could any other."""


class AlreadyDenoised(ImageError):  # noqa: N818 - not an error of the file, but the end of a loop
    """One image is a result of this program already."""


class NoRadiograph(ImageError):  # noqa: N818 - not an error of the file either
    """One file is DICOM, but no X-ray."""


class ModelError(CxrError, ValueError):
    """A model file or its card is missing, damaged or does not fit."""


class DataError(CxrError, ValueError):
    """A directory of training images cannot be used."""
