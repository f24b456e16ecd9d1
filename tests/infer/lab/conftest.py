"""A small result of studies that follow the contract of the lab."""

from __future__ import annotations

import pytest

from cxr_infer.lab.images import described, phantoms
from cxr_infer.lab.laboratory import methods_under_test
from cxr_infer.lab.methods import find_methods
from cxr_infer.lab.result import LabResult
from cxr_infer.lab.runner import run_studies
from cxr_infer.lab.setting import Setting
from tests.infer.lab.protocols import FAKES, PROTOCOL


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> LabResult:
    """The result of `PROTOCOL` and `FAKES`."""
    images, methods = phantoms(PROTOCOL), find_methods(PROTOCOL.methods)
    findings = run_studies(
        FAKES,
        Setting(PROTOCOL, images, methods),
        tmp_path_factory.mktemp("lab"),
        "a test",
        stopped=lambda: False,
        seen=lambda progress: None,
        workers=1,
    )
    return LabResult(
        PROTOCOL, methods_under_test(methods), described(images), tuple(findings), command=("cxr-infer", "lab")
    )
