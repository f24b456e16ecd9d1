"""Unexpected exceptions: one line for the user and a traceback for the log, neither with patient data.

Everything is logged to `LOG`, `logging.getLogger("cxr_infer")`, or a child of it. Nothing is printed unless the
importing program configures logging.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from types import TracebackType

LOG = logging.getLogger("cxr_infer")
LOG.addHandler(logging.NullHandler())  # otherwise Python prints warnings if logging is not configured

ON_STDERR_ANYWAY = "said"  # attribute of log records whose message the command prints itself

WAY_OUT = "this is a bug in cxr-infer; please report it to its issue tracker, with the log written by --log FILE"
REINSTALL = "a package that cxr-infer needs is missing or damaged; reinstall cxr-infer"
LONGEST = 300  # characters of an exception's text in a line
OWN_PACKAGES = ("cxr_infer", "cxr_train", "cxr_export", "benchmarks")
# modules that handle DICOM attributes and may quote them in exceptions
OF_DICOM = re.compile(r"(pydicom|openjpeg|libjpeg|pylibjpeg)(\.|$)|cxr_infer\.(.+\.)?dicom(\.|$)")
QUOTED = re.compile(r"""(["']).*\1""")
LEFT_OUT = "[...]"


def fault_line(error: BaseException) -> str:
    """Describe an exception in one line: `ValueError: text (file:line); this is a bug in cxr-infer; please ...`."""
    return f"{_told(error)} ({place(error)}); {REINSTALL if isinstance(error, ImportError) else WAY_OUT}"


def place(error: BaseException) -> str:
    """Name the file and line that raised an exception, and the last line of this project in its traceback."""
    frames = list(_frames(error.__traceback__))
    if not frames:
        return "place unknown"
    ours = next((where for module, where in reversed(frames) if module.split(".")[0] in OWN_PACKAGES), None)
    last = frames[-1][1]
    return last if ours in (None, last) else f"{last}, called from {ours}"


class Traceback(str):
    """Multi-line text that the log keeps unchanged."""


def traceback_of(error: BaseException) -> Traceback:
    """Return the traceback of an exception and of its causes, without values."""
    hide = _handles_dicom(error)
    parts = []
    for each in _led_to(error):
        lines = "".join(traceback.format_tb(each.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{lines}{_told(each, hide=hide)}\n")
    return Traceback("\nwhich led to:\n\n".join(parts))


def _told(error: BaseException, *, hide: bool | None = None) -> str:
    """Return type and text of an exception. hide: drop words that may be patient data; None: if DICOM was involved."""
    text = " ".join(str(error).split())
    if hide if hide is not None else _handles_dicom(error):
        text = _without_values(text)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} {LEFT_OUT}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _without_values(text: str) -> str:
    """Keep only words that cannot be patient data: lower case, and numbers of up to three digits."""
    words = QUOTED.sub(LEFT_OUT, text).split()
    plain = [w if re.fullmatch(r"[a-z]+(-[a-z]+)*[,:;.]?|\d{1,3}[,:;.]?", w) else LEFT_OUT for w in words]
    return " ".join(w for w, before in zip(plain, ["", *plain], strict=False) if not w == before == LEFT_OUT)


def _handles_dicom(error: BaseException) -> bool:
    """Whether code that handles DICOM attributes appears in the traceback of an exception or of its causes."""
    chain = list(_led_to(error))
    return any(OF_DICOM.match(module) for each in chain for module, _ in _frames(each.__traceback__))


def _led_to(error: BaseException) -> Iterator[BaseException]:
    """Return an exception and its causes, the earliest first."""
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return reversed(chain)


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, str]]:
    """Yield module and `file:line` of each frame, the raising one last. File names start at the package."""
    while trace is not None:
        code, module = trace.tb_frame.f_code, trace.tb_frame.f_globals.get("__name__") or ""
        parts = code.co_filename.replace("\\", "/").split("/")
        depth = module.count(".") + 1 + (parts[-1] == "__init__.py")
        yield module, f"{'/'.join(parts[-depth:])}:{trace.tb_lineno}"
        trace = trace.tb_next
