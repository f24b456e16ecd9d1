"""What an actor of a Ray cluster is and does: it loads the model once, names travel to it, records travel back."""

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
    """What an actor needs to know. It travels, and so must be found by every machine: the model by name or path."""

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
    run: str  # hexadecimal digits, by which its workers know each other
    folder: Path  # in which the run was started: relative paths are meant, and reported, as from there


@dataclass(frozen=True)
class ImageRow:
    """An image on its way to an actor, or its record on the way back."""

    index: int  # within the data set
    name: str
    known: list[Entry]  # what is recorded of its results
    record: FileResult | None = None

    def packed(self) -> dict[str, str]:
        """A row of a data set, of one text, because names need not be valid text themselves."""
        known = [entry.to_dict() for entry in self.known]
        return {"item": json.dumps([self.index, self.name, known, self.record and self.record.to_dict()])}

    @staticmethod
    def unpacked(row: str) -> ImageRow:
        index, name, known, record = json.loads(row)
        return ImageRow(index, name, list(map(Entry.from_dict, known)), record and FileResult(**record))


class Actor:
    """An actor: loads the model once, then does the images of a block after each other."""

    def __init__(self, task: ActorTask) -> None:
        warnings.simplefilter("ignore")
        with contextlib.suppress(OSError):  # a machine without that folder, for which paths must be absolute
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
        except UsageError as error:  # this machine does not see the output
            done = [replace(item, record=FileResult(item.name, FAILED, f"{item.name}: {error}")) for item in items]
        return {"item": [item.packed()["item"] for item in done]}

    def _done(self, items: list[ImageRow]) -> list[ImageRow]:
        with self._output as output:
            for item in items:
                output.learn(item.name, item.known)
            jobs = [job_of(item.name, self._source, self._out) for item in items]
            results = list(denoise_jobs(jobs, self._run, self._source, output))
            results += [not_begun(item.name) for item in items[len(results) :]]  # the output can hold no more
            return [
                replace(item, known=output.known(item.name), record=result)
                for item, result in zip(items, results, strict=True)
            ]
