"""The methods that `cxr-infer` is timed against, each in its own process, so that its peak memory is measured
separately.

A peer is started once (`start`), then given images one by one (`run`), so that a round can take every peer in turn.
"""

from __future__ import annotations

import importlib.util
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from benchmarks.memory import peak_memory
from cxr_infer import load_model
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.pixels import ByteImage, from_unit, to_unit
from cxr_infer.model.card import DENOISED

Timed = Callable[[ByteImage], tuple[float, ByteImage | None]]  # image -> seconds, and the result if meaningful

BARE_INT8, BARE_FP32 = "bare onnxruntime, int8", "bare onnxruntime, fp32"
NLM, WAVELET, BM3D = "OpenCV NLM, defaults", "scikit-image wavelet", "BM3D"
FFDNET, DNCNN = "FFDNet-sized network", "DnCNN-17"
BM3D_SIDE = 512  # px; it is slow, with the same time per pixel for larger images
BM3D_DOSE_SD = 0.1  # [0, 1]: about the mottle of 71 photons
WIDTH = 64  # channels of both networks


def peers() -> list[str]:
    """Return the installed peers. BM3D is non-commercial and therefore not a dependency."""
    everywhere = [BARE_INT8, BARE_FP32, NLM, WAVELET, FFDNET, DNCNN]
    return everywhere + ([BM3D] if importlib.util.find_spec("bm3d") else [])


@dataclass(frozen=True)
class Timing:
    """One image through one peer: seconds; megapixels; the result, (H, W) uint8; peak memory so far, MB."""

    seconds: float
    megapixels: float
    result: ByteImage | None
    peak: float


_timed: Timed


def start(name: str, threads: int) -> None:
    """Make this process the named peer."""
    global _timed
    cv2.setNumThreads(threads)
    makers: dict[str, Callable[[], Timed]] = {
        BARE_INT8: lambda: _bare("int8", threads),
        BARE_FP32: lambda: _bare("fp32", threads),
        NLM: lambda: _plain(cv2.fastNlMeansDenoising),
        WAVELET: lambda: _plain(_wavelet),
        BM3D: lambda: _plain(_bm3d),
        FFDNET: lambda: _network(_ffdnet_sized(), threads),
        DNCNN: lambda: _network(_dncnn(), threads),
    }
    _timed = makers[name]()
    _timed(
        np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    )  # triggers everything that loads on first use


def run(image: ByteImage) -> Timing:
    """Time one image, (H, W) uint8."""
    seconds, result = _timed(image)
    return Timing(seconds, image.size / 1e6, result, peak_memory())


def _plain(denoise: Callable[[ByteImage], Any]) -> Timed:
    def timed(image: ByteImage) -> tuple[float, ByteImage]:
        started = time.perf_counter()
        result = denoise(image)
        return time.perf_counter() - started, np.asarray(result, dtype=np.uint8)

    return timed


def _bare(precision: str, threads: int) -> Timed:
    """The network alone, on an image that is a single window: the lower bound of the time."""
    model = load_model("window", precision=precision, threads=threads)

    def timed(image: ByteImage) -> tuple[float, ByteImage]:
        unit = to_unit(image)
        feed = model.card.feed(unit[None, None], estimate_mottle(unit).level)
        started = time.perf_counter()
        (denoised,) = model.session.run([DENOISED], feed)
        return time.perf_counter() - started, from_unit(denoised[0, 0], np.dtype(np.uint8)).astype(np.uint8)

    return timed


def _wavelet(image: ByteImage) -> Any:
    from skimage.restoration import denoise_wavelet

    return np.rint(255 * np.clip(denoise_wavelet(to_unit(image)), 0, 1))


def _bm3d(image: ByteImage) -> Any:
    import bm3d

    return np.rint(255 * np.clip(bm3d.bm3d(image / 255, BM3D_DOSE_SD), 0, 1))


def _network(exported: bytes, threads: int) -> Timed:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])

    def timed(image: ByteImage) -> tuple[float, None]:
        feed = {"noisy": to_unit(image)[None, None]}
        started = time.perf_counter()
        session.run(None, feed)
        return time.perf_counter() - started, None

    return timed


def _ffdnet_sized() -> bytes:
    """15 convolutions of 64 channels at half resolution (Zhang et al., IEEE TIP 27(9), 2018), untrained."""
    from torch import nn

    return _export(nn.PixelUnshuffle(2), *_convolutions(15, 4), nn.PixelShuffle(2))


def _dncnn() -> bytes:
    """17 convolutions of 64 channels at full resolution (Zhang et al., IEEE TIP 26(7), 2017), untrained."""
    return _export(*_convolutions(17, 1))


def _convolutions(count: int, channels: int) -> list[Any]:
    from torch import nn

    layers: list[nn.Module] = [nn.Conv2d(channels, WIDTH, 3, padding=1), nn.ReLU()]
    for _ in range(count - 2):
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()]
    return [*layers, nn.Conv2d(WIDTH, channels, 3, padding=1)]


def _export(*layers: Any) -> bytes:
    import torch

    shape = {2: 2 * torch.export.Dim("rows"), 3: 2 * torch.export.Dim("columns")}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports missing packages
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            torch.nn.Sequential(*layers).eval(),
            (torch.rand(1, 1, 64, 96),),
            dynamo=True,
            input_names=["noisy"],
            dynamic_shapes={"input": shape},
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()
