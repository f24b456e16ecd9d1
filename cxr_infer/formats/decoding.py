"""Where decoders run: in a child process with limits while a file of a run is read, otherwise in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from numpy.typing import NDArray

from cxr_infer.formats import decoder_process
from cxr_infer.formats.decoders import Decoder

_apart: ContextVar[bool] = ContextVar("apart", default=False)


@contextlib.contextmanager
def in_a_process_of_their_own() -> Iterator[None]:
    """Run decoders of this thread in a child process, if there can be one."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


def decoded(decoder: Decoder, content: bytes, pixels: int) -> NDArray[Any]:
    """Decode an image: (H, W) or (H, W, channels).

    pixels: that its header promises, H x W; by them the limits of a child process are set. Raises DecodingError or
    whatever else a decoder raises on an image that it refuses, MemoryError, DecoderLostError, and ImportError where its
    package is missing.
    """
    decoder.load()
    if _apart.get() and decoder_process.is_possible():
        return decoder_process.decoded(decoder, content, pixels)
    return decoder.decode(content)
