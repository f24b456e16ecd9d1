"""Steps of a run whose exceptions are results: one bad file never ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import cv2

from cxr_infer.batch.jobs import Job
from cxr_infer.errors import AlreadyDenoised, CxrError, NoRadiograph
from cxr_infer.faults import fault_line, traceback_of
from cxr_infer.model.address_space import lacks_memory
from cxr_infer.report.results import FAILED, IGNORED, SKIPPED, FileResult

TOO_LARGE = "too large for this machine's memory"
LOG = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(job: Job, step: Callable[[], T]) -> T | FileResult:
    """What a step gives, or the failed result that its exception is."""
    try:
        return step()
    except AlreadyDenoised as error:
        return FileResult(job.name, SKIPPED, str(error))
    except NoRadiograph as error:
        return FileResult(job.name, IGNORED, str(error).removeprefix(f"{job.source}: "))
    except CxrError as error:
        LOG.debug("%s: %s", job.name, traceback_of(error))
        message = str(error)
        return FileResult(job.name, FAILED, message if str(job.source) in message else f"{job.source}: {message}")
    except OSError as error:
        LOG.debug("%s: %s", job.name, traceback_of(error))
        return FileResult(job.name, FAILED, f"{job.source}: {error.strerror or error}")
    except Exception as error:  # a fault of ours, or of a library that nobody met before, is still this file's alone
        if lacks_memory(error) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem):
            return FileResult(job.name, FAILED, f"{job.source}: {TOO_LARGE}")
        line = f"{job.source}: {fault_line(error)}"
        return FileResult(job.name, FAILED, line, traceback=traceback_of(error))
