"""Exceptions that nobody foresaw: a line for the user, a traceback for whoever mends them, no patient data in either.

Everything is logged under `LOG`, `logging.getLogger("cxr_infer")`, or a child of it. A program that imports this
package decides what becomes of it; nothing is printed by default.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from types import TracebackType

LOG = logging.getLogger("cxr_infer")
LOG.addHandler(logging.NullHandler())  # else Python prints warnings of a library that nobody has set up

ON_STDERR_ANYWAY = "said"  # attribute of a record whose message a command prints itself

WAY_OUT = "a bug in cxr-infer; please report it in the issues of its repository, with the log that --log FILE writes"
REINSTALL = "a package that cxr-infer needs is missing or damaged; reinstall cxr-infer"
LONGEST = 300  # characters of an exception's text in a line
OURS = ("cxr_infer", "cxr_train", "cxr_export", "benchmarks")
# what handles attributes of DICOM files, and may quote them in the text of an exception
OF_DICOM = re.compile(r"(pydicom|openjpeg|libjpeg|pylibjpeg)(\.|$)|cxr_infer\.(.+\.)?dicom(\.|$)")
QUOTED = re.compile(r"""(["']).*\1""")
LEFT_OUT = "[...]"


def fault_line(error: BaseException) -> str:
    """Say in one line what happened, where, and what to do: `ValueError: text (file:line), a fault of ...`."""
    return f"{_told(error)} ({place(error)}), {REINSTALL if isinstance(error, ImportError) else WAY_OUT}"


def place(error: BaseException) -> str:
    """Name the file and line that raised an exception; of a library's, the line of ours that called it as well."""
    frames = list(_frames(error.__traceback__))
    if not frames:
        return "nowhere"
    ours = next((where for module, where in reversed(frames) if module.split(".")[0] in OURS), None)
    last = frames[-1][1]
    return last if ours in (None, last) else f"{last}, called from {ours}"


class Traceback(str):
    """A text of several lines, which a log keeps as they are."""


def traceback_of(error: BaseException) -> Traceback:
    """Return the traceback of an exception and of those that led to it: lines of code and texts, no values."""
    hide = _handles_dicom(error)
    parts = []
    for each in _led_to(error):
        lines = "".join(traceback.format_tb(each.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{lines}{_told(each, hide=hide)}\n")
    return Traceback("\nwhich led to:\n\n".join(parts))


def _told(error: BaseException, *, hide: bool | None = None) -> str:
    """The kind and text of an exception. hide: the words that may be a patient's; None where DICOM was handled."""
    text = " ".join(str(error).split())
    if hide if hide is not None else _handles_dicom(error):
        text = _without_values(text)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} {LEFT_OUT}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _without_values(text: str) -> str:
    """Leave of a text only what no attribute of a patient looks like: words in lower case and short numbers."""
    words = QUOTED.sub(LEFT_OUT, text).split()
    plain = [w if re.fullmatch(r"[a-z]+(-[a-z]+)*[,:;.]?|\d{1,3}[,:;.]?", w) else LEFT_OUT for w in words]
    return " ".join(w for w, before in zip(plain, ["", *plain], strict=False) if not w == before == LEFT_OUT)


def _handles_dicom(error: BaseException) -> bool:
    """Whether code that handles DICOM attributes took part in an exception or in one that led to it."""
    chain = list(_led_to(error))
    return any(OF_DICOM.match(module) for each in chain for module, _ in _frames(each.__traceback__))


def _led_to(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that led to one, the first of them first, and itself."""
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return reversed(chain)


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, str]]:
    """The module and the `file:line` of each frame, the one that raised last. Files are named from the package on."""
    while trace is not None:
        code, module = trace.tb_frame.f_code, trace.tb_frame.f_globals.get("__name__") or ""
        parts = code.co_filename.replace("\\", "/").split("/")
        depth = module.count(".") + 1 + (parts[-1] == "__init__.py")
        yield module, f"{'/'.join(parts[-depth:])}:{trace.tb_lineno}"
        trace = trace.tb_next
