"""The exit statuses of all commands, and the decorator that turns errors into them."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import ParamSpec

import typer

from cxr_infer.cli.process import SIGNAL_STATUS
from cxr_infer.errors import CxrError, ImageError
from cxr_infer.model.address_space import LACK, lacks_memory
from cxr_infer.report.text import print_error

SOME_FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

P = ParamSpec("P")


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with one line on stderr and the right status, never a traceback, on this project's errors
    and where memory is lacking."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            command(*args, **kwargs)
        except CxrError as error:
            print_error(str(error))
            raise typer.Exit(SOME_FAILED if isinstance(error, ImageError) else WRONG_USAGE) from None
        except KeyboardInterrupt:
            print_error("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except (MemoryError, RuntimeError, ImportError, OSError) as error:
            if not lacks_memory(error):
                raise
            print_error(LACK)
            raise typer.Exit(SOME_FAILED) from None
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    return wrapped


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C and SIGTERM where no command has its own way to stop: the file at hand is abandoned."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            # libraries in C that are interrupted as they are loaded make other errors of it, or abort; no file is open
            print_error("interrupted")
            os._exit(SIGNAL_STATUS + number)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    print_error("terminated")
    raise SystemExit(SIGNAL_STATUS + number)
