"""Run decoders in a child process with limits, or in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from numpy.typing import NDArray

from cxr_infer.formats import decoder_process
from cxr_infer.formats.decoders import ImageDecoder

_apart: ContextVar[bool] = ContextVar("apart", default=False)


@contextlib.contextmanager
def in_a_process_of_their_own() -> Iterator[None]:
    """Run the decoders of this thread in a child process, if the system supports it."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


def decoded(decoder: ImageDecoder, content: bytes, pixels: int) -> NDArray[Any]:
    """Decode an image to (H, W) or (H, W, channels).

    pixels: H x W by the header; sets the limits of a child process. Raises DecodingError or another exception of the
    decoder if it rejects the image, DecoderLostError, MemoryError, and ImportError if its package is missing.
    """
    decoder.load()
    if _apart.get() and decoder_process.is_possible():
        return decoder_process.decoded(decoder, content, pixels)
    return decoder.decode(content)
