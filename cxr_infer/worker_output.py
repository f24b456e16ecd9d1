"""The output directory as a worker of a run sees it, on whatever machine: the run itself has locked it elsewhere."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType

from cxr_infer.errors import UsageError
from cxr_infer.files import remove_temporaries
from cxr_infer.output import OutputDirectory, State, digest, open_directory, open_locked, worker_file
from cxr_infer.records import Records, read_lines
from cxr_infer.shard import Shard, is_sibling


class WorkerOutput(OutputDirectory):
    """Records results in a file of its own, locked while the `with` statement lasts, which the run takes in at its end.

    What is known of a result must be learnt from the run first. An image comes twice where a worker ends before it can
    tell what became of it: a result that a worker of the same run left is no other's, and is made again.
    """

    def __init__(self, path: Path, made_by: bytes, shard: Shard | None, run: str) -> None:
        super().__init__(path, made_by, shard)
        self._run_files = worker_file(self._label, run, "*")
        self._file = path / worker_file(self._label, run, secrets.token_hex(4))
        self._run = run
        self._label += f"{run}-"

    def __enter__(self) -> WorkerOutput:
        try:
            if self._directory is None:  # kept for the life of the worker, so that it is known again
                self._directory = open_directory(self.path)
            self._manifest = open_locked(self._file)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written to: {error.strerror or error}") from error
        self._records = Records()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._manifest is not None:
            self._manifest.close()
        self._records.close()

    def claim(self, name: str, target: Path) -> None:
        """The run has seen to it: only it knows all names."""

    def state(self, name: str, target: Path) -> State:
        state = super().state(name, target)
        return State.OUTDATED if state is State.FOREIGN and self._left_by_this_run(name, target) else state

    def _left_by_this_run(self, name: str, target: Path) -> bool:
        result = digest(target.read_bytes())
        return any(
            (told, entry.result) == (name, result)
            for path in self.path.glob(self._run_files)
            for told, entry in read_lines(path)
        )

    def _remove_temporaries(self, folder: Path) -> None:
        remove_temporaries(folder, spared=lambda name: self._run in name or is_sibling(name, self._shard))
