"""Remove quantum mottle from chest X-rays on a plain CPU. Research use only.

from cxr_infer import load_model, denoise
model = load_model("window")
clean = denoise(noisy, model)      # (H, W) uint8, uint16 or float in [0, 1] -> the same
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxr_infer.version import __version__

if TYPE_CHECKING:
    from cxr_infer.api import denoise
    from cxr_infer.errors import CxrError, DataError, ImageError, ModelError, UsageError
    from cxr_infer.model.denoiser import Model, load_model
    from cxr_infer.settings import ReadOptions, Settings

__all__ = [
    "CxrError",
    "DataError",
    "ImageError",
    "Model",
    "ModelError",
    "ReadOptions",
    "Settings",
    "UsageError",
    "__version__",
    "denoise",
    "load_model",
]


def __getattr__(name: str) -> Any:
    # imported on first use: `cxr-infer --version` and a bare `import cxr_infer` need neither numpy nor OpenCV
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cxr_infer import api, errors

    return getattr(errors, name, None) or getattr(api, name)
