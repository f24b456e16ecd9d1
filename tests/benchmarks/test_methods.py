from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detail import contrast_kept, flat_field, mottle_of
from benchmarks.lines import lost_and_false_lines
from benchmarks.methods import BM3D, classical, model
from benchmarks.quality import by_dose
from cxr_infer.errors import ModelError
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.pixels import FloatImage
from cxr_train.comparison import NOISY, compare


@pytest.mark.parametrize("name", sorted(set(classical()) - {NOISY, BM3D}))
def test_every_classical_method_removes_mottle(name: str, clean: FloatImage, noisy: FloatImage) -> None:
    denoised = classical()[name](noisy, 71.0)
    assert denoised.shape == clean.shape
    assert denoised.dtype == np.float32
    assert psnr(clean, denoised) > psnr(clean, noisy) + 5


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_method_with_non_finite_results_is_refused(clean: FloatImage, wrong: float) -> None:
    """Without the check, NaN would look perfect: no line is lost or false, and the largest of 0 and NaN is 0."""

    def broken(noisy: FloatImage, white: float) -> FloatImage:
        result = noisy.copy()
        result[3, 5] = wrong
        return result

    for measure in (
        lambda: contrast_kept([clean], broken, mottle_of(71.0)),
        lambda: flat_field(broken, 71.0),
        lambda: lost_and_false_lines([clean], broken, 71.0),
        lambda: list(compare({"a": clean}, by_dose(), {"broken": broken})),
    ):
        with pytest.raises(ModelError, match="non-finite values"):
            measure()


def test_models_estimate_the_dose_themselves(clean: FloatImage, noisy: FloatImage) -> None:
    method = model("window")
    np.testing.assert_array_equal(method(noisy, 1.0), method(noisy, 1e6))
    assert psnr(clean, method(noisy, 0.0)) > psnr(clean, noisy) + 10
