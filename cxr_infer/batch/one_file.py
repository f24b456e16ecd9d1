"""Denoise a single file without exceptions, for programs with their own queue, such as the DICOM node."""

from __future__ import annotations

from pathlib import Path

from cxr_infer.batch.guard import result_of
from cxr_infer.batch.jobs import Job
from cxr_infer.batch.pipeline import denoise_content
from cxr_infer.files import read_content
from cxr_infer.formats.readers import most_bytes
from cxr_infer.model.denoiser import Model
from cxr_infer.report.results import FileResult
from cxr_infer.settings import ReadOptions, Settings


def denoise_one(
    name: str, source: Path, model: Model, settings: Settings, reading: ReadOptions
) -> tuple[bytes | None, FileResult]:
    """Return the content of a result as made by `cxr-infer dir`, None if there is none, and the file's record."""
    job = Job(name, source, source)  # DICOM keeps its name
    try:
        return denoise_content(job, read_content(source, most_bytes(reading)), model, settings, reading)
    except Exception as error:
        return None, result_of(job, error)
