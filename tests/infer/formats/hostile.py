"""Decoders that do what images ask of them, and images that ask: crashes, loops and more memory than there is."""

from __future__ import annotations

import functools
import os
import signal
import struct
import zlib
from typing import Any

from cxr_infer.formats import decoder_process, decoders

CRASH, HANG, SLEEP, GROW, VANISH = b"asks: crash", b"asks: hang", b"asks: sleep", b"asks: grow", b"asks: vanish"
OPENJPEG_SAYS = b"Created by OpenJPEG"


def install(seconds: float) -> None:
    """Let every decoder of this process, and of its children, obey. seconds: of processor time that a small image may
    take; of the clock's it may take many, as machines that run tests are busy."""
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


def png_that(asks: bytes, png: bytes) -> bytes:
    """A PNG with one more chunk of text."""
    text = b"tEXt" + b"Comment\0" + asks
    return png[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + png[33:]


def jpeg_2000_that(asks: bytes, content: bytes) -> bytes:
    """A file with an image by OpenJPEG, whose comment is another."""
    assert content.count(OPENJPEG_SAYS) == 1
    return content.replace(OPENJPEG_SAYS, asks.ljust(len(OPENJPEG_SAYS)))
