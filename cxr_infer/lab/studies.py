"""The studies by name: each turns a setting into findings, in units of work that can be stopped and taken up again.

A study is a module of its own, which imports `setting`, `findings` and `protocol`, never this one.
"""

from __future__ import annotations

from collections.abc import Callable

from cxr_infer.lab import bias_study, contrast_detail, detectability, flat_field, repeated
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.setting import Arrays as Arrays
from cxr_infer.lab.setting import Method as Method
from cxr_infer.lab.setting import Setting as Setting
from cxr_infer.lab.setting import Work as Work

Study = Callable[[Setting, Work], list[Finding]]
STUDIES: dict[str, Study] = {  # one line a study
    detectability.KNOWN: detectability.detectability_study,
    detectability.SEARCH: detectability.search_study,
    detectability.EQUIVALENCE: detectability.equivalence_study,
    contrast_detail.STUDY: contrast_detail.contrast_detail_study,
    flat_field.STUDY: flat_field.noise_power_study,
    bias_study.STUDY: bias_study.bias_study,
    repeated.STUDY: repeated.repeated_study,
}
