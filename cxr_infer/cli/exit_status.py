"""The exit statuses of all commands, and the decorator that turns errors into them.

| status | when |
| --- | --- |
| 0 | success |
| 1 | files failed, were not replaced or could not be measured, or a report could not be written |
| 2 | wrong usage, or a model that cannot be used |
| 128 + N | ended by signal N: 130 for Ctrl-C, 143 for SIGTERM |
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import typer

from cxr_infer.address_space import LACK, lacks_memory
from cxr_infer.cli.log_options import LogOption, VerboseOption, logging_to
from cxr_infer.errors import CxrError, ImageError
from cxr_infer.faults import LOG, fault_line, traceback_of
from cxr_infer.report.text import print_error

SOME_FAILED, WRONG_USAGE = 1, 2
SIGNAL_STATUS = 128  # added to a signal's number
INTERRUPTED = SIGNAL_STATUS + signal.SIGINT


def status_of(error: Exception) -> int:
    """Return the exit status for an error that ends a command."""
    return WRONG_USAGE if isinstance(error, CxrError) and not isinstance(error, ImageError) else SOME_FAILED


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Add the log options to a command, and turn exceptions into one line on stderr and an exit status.

    Tracebacks of unexpected exceptions are logged.
    """

    @functools.wraps(command)
    def wrapped(*args: object, verbose: int = 0, log: Path | None = None, **kwargs: object) -> None:
        previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            _ended(lambda: _logged(lambda: command(*args, **kwargs), verbose, log, kwargs.get("source")))
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    _add_options(wrapped, command)
    return wrapped


def _add_options(wrapped: Callable[..., None], command: Callable[..., None]) -> None:
    """Show typer the parameters of the command, followed by the log options."""
    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=VerboseOption),
        inspect.Parameter("log", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LogOption),
    ]
    parameters = {parameter.name: parameter for parameter in (*own.parameters.values(), *added)}
    wrapped.__signature__ = own.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
    wrapped.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}


def _logged(work: Callable[[], None], verbose: int, log: Path | None, source: object) -> None:
    with logging_to(verbose, log, source):
        _ended(work)


def _ended(work: Callable[[], None]) -> None:
    """Run a command. Prints its error, and raises typer.Exit with the status."""
    try:
        work()
    except (typer.Exit, typer.Abort):  # raised by the command itself
        raise
    except KeyboardInterrupt:
        print_error("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except CxrError as error:
        print_error(str(error))
        LOG.debug("traceback of the error:\n%s", traceback_of(error))
        raise typer.Exit(status_of(error)) from None
    except Exception as error:
        if lacks_memory(error):
            print_error(LACK)
            with suppress(MemoryError):  # logging needs memory too
                LOG.error("%s", traceback_of(error))
        else:
            print_error(fault_line(error))
            LOG.error("%s", traceback_of(error))
        raise typer.Exit(status_of(error)) from None


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle Ctrl-C and SIGTERM in commands without their own handler; the current file is abandoned."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            # C libraries interrupted while loading raise other errors or abort; no file is open yet
            print_error("interrupted")
            os._exit(SIGNAL_STATUS + number)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    print_error("terminated")
    raise SystemExit(SIGNAL_STATUS + number)
