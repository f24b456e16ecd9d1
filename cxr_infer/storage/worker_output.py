"""The output directory for workers of a run, on any machine; the run itself holds the lock."""

from __future__ import annotations

import secrets
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType

from cxr_infer.errors import ImageError, OutputLostError, UsageError
from cxr_infer.storage.directory_output import OutputDirectory, open_directory
from cxr_infer.storage.ledger import Records, digest_of
from cxr_infer.storage.locks import open_locked
from cxr_infer.storage.protocols import State
from cxr_infer.storage.record_files import worker_file
from cxr_infer.storage.shard import Shard


class WorkerOutput(OutputDirectory):
    """An output with its own record file, which the run merges at its end.

    The file is locked during the `with` statement. Records of earlier results must first be passed to `learn`. If a
    worker dies before it reports an image, another gets it again, and replaces the result that the first one left.
    """

    def __init__(self, path: Path, made_by: bytes, shard: Shard | None, run: str) -> None:
        super().__init__(path, made_by, shard)
        self._run_files = worker_file(self._label, run, "*")
        self._file = worker_file(self._label, run, secrets.token_hex(4))
        self._run = run
        self._label += f"{run}-"

    def __enter__(self) -> WorkerOutput:
        try:
            if self._directory is None:  # kept open for the life of the worker, to notice a replaced directory
                self._directory = open_directory(self.path)
            with self._root() as root:
                self._ledger = open_locked(root, self._file)
        except (ImageError, OutputLostError) as error:
            raise UsageError(str(error)) from error
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written to: {error.strerror or error}") from error
        self._records = Records()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ledger is not None:
            self._ledger.close()
        self._records.close()

    def claim(self, name: str, target: Path) -> None:
        """Do nothing: the run claims results, as only it knows all names."""

    def state(self, name: str, target: Path) -> State:
        state = super().state(name, target)
        return State.OUTDATED if state is State.FOREIGN and self._left_by_this_run(name, target) else state

    def _left_by_this_run(self, name: str, target: Path) -> bool:
        with self._folder(target) as folder, folder.reader(target.name) as file:
            result = digest_of(file)
        with self._root() as root:
            return any(
                (told, entry.result) == (name, result)
                for file_name in root.names(lambda name: fnmatchcase(name, self._run_files))
                for told, entry in self._lines(root, file_name)
            )

    def _spares(self, name: str) -> bool:
        return self._run in name or super()._spares(name)
