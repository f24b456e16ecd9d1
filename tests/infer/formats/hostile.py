"""Decoders that obey requests hidden in images, and images with such requests: crash, hang, exhaust memory."""

from __future__ import annotations

import functools
import os
import signal
import struct
import zlib
from typing import Any

from cxr_infer.formats import decoder_process, decoders

CRASH, HANG, SLEEP, GROW, VANISH = b"asks: crash", b"asks: hang", b"asks: sleep", b"asks: grow", b"asks: vanish"
OPENJPEG_COMMENT = b"Created by OpenJPEG"


def install(seconds: float) -> None:
    """Make every decoder of this process and its children obey. seconds: CPU time that a small image may take; the
    wall-clock limit is far longer because test machines are busy."""
    decoder_process.SECONDS, decoder_process.PATIENCE = seconds, 1000
    for decoder in decoders.DECODERS:
        object.__setattr__(decoder, "decode", functools.partial(_obeying, decoder.decode))


def _obeying(decode: decoders.Decode, content: bytes) -> Any:
    if CRASH in content:
        os.kill(os.getpid(), signal.SIGSEGV)
    while HANG in content:
        pass
    if SLEEP in content:
        signal.sigwait({signal.SIGUSR1})
    if GROW in content:
        taken = []
        while True:
            taken.append(bytearray(1 << 20))
    if VANISH in content:
        os._exit(0)
    return decode(content)


def png_with_request(request: bytes, png: bytes) -> bytes:
    """The PNG with a text chunk that holds the request."""
    text = b"tEXt" + b"Comment\0" + request
    return png[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + png[33:]


def jpeg_2000_with_request(request: bytes, content: bytes) -> bytes:
    """The file with the request in place of OpenJPEG's comment."""
    assert content.count(OPENJPEG_COMMENT) == 1
    return content.replace(OPENJPEG_COMMENT, request.ljust(len(OPENJPEG_COMMENT)))
