"""The log options `-v` and `--log FILE`. Without them, nothing is logged."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.faults import LOG, ON_STDERR_ANYWAY, Traceback
from cxr_infer.files import open_plain
from cxr_infer.folder import Folder, NewFile, is_link
from cxr_infer.report.text import printable
from cxr_infer.version import __version__

VerboseOption = Annotated[
    int,
    typer.Option("--verbose", "-v", count=True, show_default=False, help="Log progress to stderr; -vv: of each file."),
]
LogOption = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="Write the full log with tracebacks to this .log file.")
]

LOG_SUFFIX = ".log"
FIRST_LINE = "cxr-infer log, "  # start of log files, which later runs may replace
LOG_FORMAT = "%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"
SHORT_FORMAT = "%(levelname)s %(name)s: %(message)s"


class _Printable(logging.Formatter):
    """Formats records with indented tracebacks, and escapes unprintable characters in file names."""

    def format(self, record: logging.LogRecord) -> str:
        shown = logging.makeLogRecord(record.__dict__)
        arguments = record.args if isinstance(record.args, tuple) else ()
        shown.args = tuple(a if isinstance(a, int | float | Traceback) else printable(str(a)) for a in arguments)
        return super().format(shown).replace("\n", "\n    ")


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the current `sys.stderr`, which a live bar replaces."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.setLevel(level)
        self.setFormatter(_Printable(SHORT_FORMAT))
        self.addFilter(lambda record: not hasattr(record, ON_STDERR_ANYWAY))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Ignore failures of stderr."""


class _File(logging.Handler):
    """Writes each record at once, so that a crash loses none. Stops logging if that fails."""

    def __init__(self, path: Path, file: NewFile) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(_Printable(LOG_FORMAT))
        self._path, self._file = path, file

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._file.stream.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
            self._file.stream.flush()
        except RuntimeError:  # reentrant write by a signal handler
            return
        except (OSError, ValueError) as error:
            LOG.removeHandler(self)
            reason = error.strerror if isinstance(error, OSError) else error
            typer.echo(f"error: {printable(str(self._path))}: {reason}; continuing without this log", err=True)


@contextlib.contextmanager
def logging_to(verbose: int, path: Path | None, source: object = None) -> Iterator[None]:
    """Log to stderr and to a file within this context.

    verbose: 0 for no log on stderr, 1 for INFO, 2 for DEBUG. path: of a new file or an earlier log, which is replaced.
    source: IN of the command, which must not contain the log. Raises UsageError if the file cannot be created.
    """
    with contextlib.ExitStack() as opened:
        handlers: list[logging.Handler] = []
        if verbose:
            handlers.append(_Stderr(logging.DEBUG if verbose > 1 else logging.INFO))
        if path is not None:
            handlers.append(_begun(path, source, opened))
        if not handlers:
            yield
            return
        level = LOG.level
        opened.callback(LOG.setLevel, level)
        LOG.setLevel(logging.DEBUG)
        for handler in handlers:
            LOG.addHandler(handler)
            opened.callback(LOG.removeHandler, handler)
        LOG.info("cxr-infer %s, Python %s, %s", __version__, platform.python_version(), platform.platform())
        yield


def _begun(path: Path, source: object, opened: contextlib.ExitStack) -> _File:
    _check_place(path, source)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = opened.enter_context(Folder.opened(path.parent))
        file = opened.enter_context(folder.new_file(path.name))
        file.begin()
        file.stream.write(f"{FIRST_LINE}{__version__}\n".encode())
        file.stream.flush()
        file.put_in_place()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}; give another --log") from error
    return _File(path, file)


def _check_place(path: Path, source: object) -> None:
    """Raise UsageError if the log would be inside the input or replace a file other than a log of cxr-infer."""
    if path.suffix.lower() != LOG_SUFFIX:
        raise UsageError(f"{path}: give --log a name that ends in {LOG_SUFFIX}")
    if isinstance(source, str | os.PathLike) and Path(source).resolve() in (path.parent.resolve() / path.name).parents:
        raise UsageError(f"{path}: is inside the input directory; give --log a path outside it")
    from cxr_infer.batch.jobs import in_place_of  # a slow import that only --log needs

    found = in_place_of(path, "give --log another name")
    if found is not None and (is_link(found) or not _is_log(path)):
        raise UsageError(f"{path}: exists and is not a log of cxr-infer; give --log another name")


def _is_log(path: Path) -> bool:
    try:
        with open_plain(path) as file:
            return file.read(len(FIRST_LINE)) in (b"", FIRST_LINE.encode())
    except (OSError, ImageError):
        return False
