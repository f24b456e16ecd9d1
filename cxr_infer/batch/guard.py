"""Turn exceptions about one image into failed, skipped or ignored results."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import cv2

from cxr_infer.address_space import LACK, is_limited, lacks_memory
from cxr_infer.batch.jobs import Job
from cxr_infer.errors import AlreadyDenoised, CxrError, NoRadiograph
from cxr_infer.faults import fault_line, traceback_of
from cxr_infer.report.results import FAILED, IGNORED, SKIPPED, FileResult

TOO_LARGE = "too large for this machine's memory"
LOG = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(job: Job, step: Callable[[], T]) -> T | FileResult:
    """Run a step, and turn an exception into a result."""
    try:
        return step()
    except Exception as error:
        return result_of(job, error)


def result_of(job: Job, error: Exception) -> FileResult:
    """Return the result of a file for an exception, expected or not, that concerns only that file."""
    if isinstance(error, AlreadyDenoised):
        return FileResult(job.name, SKIPPED, str(error))
    if isinstance(error, NoRadiograph):
        return FileResult(job.name, IGNORED, str(error).removeprefix(f"{job.source}: "))
    if isinstance(error, CxrError | OSError):
        LOG.debug("%s: %s", job.name, traceback_of(error))
        message = str(error) if isinstance(error, CxrError) else str(error.strerror or error)
        return FileResult(job.name, FAILED, message if str(job.source) in message else f"{job.source}: {message}")
    if lacks_memory(error) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem):
        return FileResult(job.name, FAILED, f"{job.source}: {LACK if is_limited() else TOO_LARGE}")
    return FileResult(job.name, FAILED, f"{job.source}: {fault_line(error)}", traceback=traceback_of(error))
