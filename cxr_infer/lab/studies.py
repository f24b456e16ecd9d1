"""The studies by name: each turns a setting into findings, in units of work that can be stopped and taken up again.

A study is a module of its own, which imports `setting`, `findings` and `protocol`, never this one.
"""

from __future__ import annotations

from collections.abc import Callable

from cxr_infer.lab import brightness, contrast_kept, lines, transfer
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.setting import Arrays as Arrays
from cxr_infer.lab.setting import Method as Method
from cxr_infer.lab.setting import Setting as Setting
from cxr_infer.lab.setting import Work as Work

Study = Callable[[Setting, Work], list[Finding]]
STUDIES: dict[str, Study] = {
    contrast_kept.NAME: contrast_kept.study,
    transfer.NAME: transfer.study,
    lines.NAME: lines.study,
    brightness.NAME: brightness.study,
}
