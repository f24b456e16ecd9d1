"""The studies by name: each turns a setting into findings, in units of work that can be stopped and resumed.

A study is a module that imports `setting`, `findings` and `protocol`, never this one.
"""

from __future__ import annotations

from collections.abc import Callable

from cxr_infer.lab import (
    bias_study,
    brightness,
    contrast_detail,
    contrast_kept,
    detectability,
    detectability_findings,
    flat_field,
    lines,
    repeated,
    transfer,
)
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.setting import Method as Method
from cxr_infer.lab.setting import NamedArrays as NamedArrays
from cxr_infer.lab.setting import Setting as Setting
from cxr_infer.lab.setting import UnitStore as UnitStore

Study = Callable[[Setting, UnitStore], list[Finding]]
STUDIES: dict[str, Study] = {
    contrast_kept.NAME: contrast_kept.study,
    transfer.NAME: transfer.study,
    lines.NAME: lines.study,
    brightness.NAME: brightness.study,
    detectability_findings.KNOWN: detectability.detectability_study,
    detectability_findings.SEARCH: detectability.search_study,
    detectability_findings.EQUIVALENCE: detectability.equivalence_study,
    contrast_detail.NAME: contrast_detail.study,
    flat_field.NAME: flat_field.study,
    bias_study.NAME: bias_study.study,
    repeated.NAME: repeated.study,
}
