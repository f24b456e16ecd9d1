"""The actor of a Ray cluster: it loads the model once, gets names and returns records."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from cxr_infer.batch.batch_run import BatchRun
from cxr_infer.batch.jobs import job_of
from cxr_infer.batch.pipeline import denoise_jobs, not_begun
from cxr_infer.errors import ModelError, UsageError
from cxr_infer.model.denoiser import load_model
from cxr_infer.report.results import FAILED, FileResult
from cxr_infer.settings import ReadOptions, Settings
from cxr_infer.storage.ledger import Entry
from cxr_infer.storage.protocols import Storage
from cxr_infer.storage.shard import Shard


@dataclass(frozen=True)
class ActorTask:
    """Parameters of an actor. Paths must be valid on every machine; model: a name or path."""

    model: str
    precision: str
    sha256: str
    threads: int
    settings: Settings
    reading: ReadOptions
    reference: Path | None
    overwrite: bool
    measures_finished: bool
    source: Storage
    out: Storage
    shard: Shard | None
    run: str  # hexadecimal name, shared by all workers of the run
    folder: Path  # working directory of the run, to which relative paths refer


@dataclass(frozen=True)
class ImageRow:
    """An image sent to an actor, or its record on the way back."""

    index: int  # within the data set
    name: str
    known: list[Entry]  # records of its results
    record: FileResult | None = None

    def packed(self) -> dict[str, str]:
        """Return a row of a data set with one JSON text, as file names need not be valid text."""
        known = [entry.to_dict() for entry in self.known]
        return {"item": json.dumps([self.index, self.name, known, self.record and self.record.to_dict()])}

    @staticmethod
    def unpacked(row: str) -> ImageRow:
        index, name, known, record = json.loads(row)
        return ImageRow(index, name, list(map(Entry.from_dict, known)), record and FileResult(**record))


class Actor:
    """Loads the model once, then denoises the images of each block in turn."""

    def __init__(self, task: ActorTask) -> None:
        warnings.simplefilter("ignore")
        with contextlib.suppress(OSError):  # machines without that folder need absolute paths
            os.chdir(task.folder)
        cv2.setNumThreads(task.threads)
        model = load_model(task.model, precision=task.precision, threads=task.threads)
        if model.sha256 != task.sha256:
            raise ModelError(f"{model.path}: differs from the model on the machine that started the run")
        self._run = BatchRun(model, task.settings, task.reading, task.reference, task.overwrite, task.measures_finished)
        self._source = task.source
        self._output = task.out.worker_output(self._run.made_by, task.shard, task.run)
        self._out = task.out

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        items = [ImageRow.unpacked(row) for row in batch["item"]]
        try:
            done = self._done(items)
        except UsageError as error:  # this machine cannot access the output
            done = [replace(item, record=FileResult(item.name, FAILED, f"{item.name}: {error}")) for item in items]
        return {"item": [item.packed()["item"] for item in done]}

    def _done(self, items: list[ImageRow]) -> list[ImageRow]:
        with self._output as output:
            for item in items:
                output.learn(item.name, item.known)
            jobs = [job_of(item.name, self._source, self._out) for item in items]
            results = list(denoise_jobs(jobs, self._run, self._source, output))
            results += [not_begun(item.name) for item in items[len(results) :]]  # the output is lost
            return [
                replace(item, known=output.known(item.name), record=result)
                for item, result in zip(items, results, strict=True)
            ]
