"""Remove quantum mottle from chest X-rays on an ordinary CPU. Research use only.

from cxr_infer import denoise
clean = denoise(noisy)      # (H, W) uint8, uint16 or float in [0, 1] -> the same
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxr_infer.version import __version__

if TYPE_CHECKING:
    from cxr_infer.api import denoise, denoise_directory, denoise_file, estimate_noise, mse, psnr, ssim
    from cxr_infer.batch.engine import Engine
    from cxr_infer.batch.sample import Samples
    from cxr_infer.batch.sample import write_samples as sample
    from cxr_infer.errors import CxrError, DataError, ImageError, ModelError, UsageError
    from cxr_infer.imaging.mottle import Mottle
    from cxr_infer.model.denoiser import Model, load_model
    from cxr_infer.report.results import FileResult, Summary
    from cxr_infer.settings import ReadOptions, Settings

__all__ = [
    "CxrError",
    "DataError",
    "Engine",
    "FileResult",
    "ImageError",
    "Model",
    "ModelError",
    "Mottle",
    "ReadOptions",
    "Samples",
    "Settings",
    "Summary",
    "UsageError",
    "__version__",
    "denoise",
    "denoise_directory",
    "denoise_file",
    "estimate_noise",
    "load_model",
    "mse",
    "psnr",
    "sample",
    "ssim",
]


def __getattr__(name: str) -> Any:
    # imported on first use, so that `cxr-infer --version` and `import cxr_infer` load neither numpy nor OpenCV
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cxr_infer import api, errors

    return getattr(errors, name, None) or getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
