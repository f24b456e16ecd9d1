"""Methods by name: doing nothing, classical ones, our models, any .onnx file, and any program."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np

from cxr_infer.errors import ModelError, UsageError
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab import classical
from cxr_infer.lab.command_method import TIMEOUT, CommandMethod, is_command
from cxr_infer.lab.noise import WHITE_NOISE, KnownNoise, expose
from cxr_infer.lab.protocol import NOISY as NOISY
from cxr_infer.lab.setting import Method
from cxr_infer.model.card import FP32, INT8, MODEL_NAMES
from cxr_infer.model.denoiser import load_model
from cxr_infer.model.installed import AUTO
from cxr_infer.settings import Settings

Denoise = Callable[[FloatImage, KnownNoise], FloatImage]

CLASSICAL: Mapping[str, Denoise] = {
    NOISY: lambda noisy, told: noisy,
    "gaussian": classical.gaussian,
    "nlm": classical.nlm,
    "wavelet": classical.wavelet,
    "bm3d": classical.bm3d,
}
# methods that need packages: import names and names to install
OPTIONAL: Mapping[str, Mapping[str, str]] = {
    "wavelet": {"pywt": "PyWavelets", "skimage": "scikit-image"},
    "bm3d": {"bm3d": "bm3d"},
}
SHIPPED_MODELS = (*MODEL_NAMES, *(f"{name}:{INT8}" for name in MODEL_NAMES))
TRIAL = 32  # px


@dataclass(frozen=True)
class NamedMethod:
    """A method in this process. sha256: of a model's file, or empty."""

    name: str
    denoise: Denoise
    sha256: str = ""

    def __call__(self, noisy: FloatImage, told: KnownNoise) -> FloatImage:
        return self.denoise(noisy, told)


def find_method(text: str, *, timeout: float = TIMEOUT, threads: int | None = None) -> Method:
    """Return the method for a text.

    text: a name in CLASSICAL, a shipped model (float32, so that every machine gives the same figures; `window:int8` for
    int8), the path of an .onnx file, or a command with {in} and {out}. timeout: seconds per image for a command.
    threads: of a model, None for as many as this process may use. Raises UsageError for any other text or if a package
    is missing, ModelError if a model cannot be loaded.
    """
    if is_command(text):
        return CommandMethod(text, timeout)
    if text in CLASSICAL:
        method = NamedMethod(text, CLASSICAL[text])
        if text in OPTIONAL:  # report a missing package before anything is measured
            flat = np.full((TRIAL, TRIAL), 0.5, np.float32)
            method(*expose(flat, WHITE_NOISE, 100.0, np.random.default_rng(0)))
        return method
    if text in SHIPPED_MODELS:
        name, _, precision = text.partition(":")
        return _model(text, name, precision or FP32, threads)
    if text.endswith(".onnx"):
        return _model(text, text, AUTO, threads)
    raise UsageError(
        f"unknown method {text!r}; use {', '.join((*CLASSICAL, *MODEL_NAMES))}, an .onnx file, "
        "or a command such as 'prog {in} {out}'"
    )


def is_installed(name: str) -> bool:
    """Whether the packages needed by a method are installed."""
    return all(find_spec(package) is not None for package in OPTIONAL.get(name, ()))


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages needed by these methods, if known."""
    needed = sorted({package for name in names for package in OPTIONAL.get(name, {}).values()})
    found = {}
    for package in needed:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def find_methods(texts: Sequence[str], *, timeout: float = TIMEOUT, threads: int | None = None) -> list[Method]:
    """Return all methods in order. Raises like `find_method`, and UsageError for duplicates."""
    twice = [text for text, count in Counter(texts).items() if count > 1]
    if twice:
        raise UsageError(f"method {twice[0]!r} is given twice; omit one")
    return [find_method(text, timeout=timeout, threads=threads) for text in texts]


def _model(shown: str, source: str, precision: str, threads: int | None) -> NamedMethod:
    loaded = load_model(source, precision=precision, threads=threads)
    return NamedMethod(shown, lambda noisy, told: loaded.denoise_unit(noisy, Settings()), loaded.sha256)


def run(method: Method, noisy: FloatImage, told: KnownNoise) -> FloatImage:
    """Apply a method to an image. Raises ModelError if the result is not an image.

    Most comparisons treat NaN as no error, so it would count as a method's best result.
    """
    denoised = method(noisy, told)
    if denoised.shape != noisy.shape or not np.isfinite(denoised).all():
        raise ModelError(
            f"method {method.name!r}: returned shape {denoised.shape} for {noisy.shape}, or non-finite values; omit it"
        )
    return denoised
