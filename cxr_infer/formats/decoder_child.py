"""Child process that decodes images: drop the parent's files, set limits, decode, answer.

It is forked from a process that may have threads, which do not exist in the child. So it starts no threads, imports
nothing, and keeps no files open except two connections. Linux only.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import math
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

from cxr_infer.formats.decoders import DECODERS, reason

if sys.platform == "linux":
    import fcntl
    import resource

REQUEST = struct.Struct("<BIQQ")  # decoder, seconds, bytes of memory, bytes of the image that follow
ANSWER_HEADER = struct.Struct("<B3sIIIQ")  # state, type, up to three lengths of axes, bytes that follow
READY, PIXELS, REFUSED, TOO_MUCH, LACK = range(5)  # states of an answer


def live(channel: socket.socket, life: int) -> NoReturn:
    """Run the child process."""
    try:
        _settle(channel.fileno(), life)
        most = {
            what: min(resource.getrlimit(what), key=_as_number) for what in (resource.RLIMIT_CPU, resource.RLIMIT_AS)
        }
        channel.setblocking(True)
        channel.sendall(ANSWER_HEADER.pack(READY, b"", 0, 0, 0, 0))
        while True:
            _serve(channel, most)
    finally:
        os._exit(1)  # skips exit handlers and buffers inherited from the parent


def _settle(channel: int, life: int) -> None:
    """Drop the parent's files, and end when it ends."""
    faulthandler.disable()
    gc.disable()
    ignored = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}  # meant for the parent
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):  # reserved by the C library
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # decoders print to them
        os.dup2(nothing, stream)
    for path in [*Path("/proc/self/fd").iterdir()]:
        if int(path.name) not in (0, 1, 2, channel, life):
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(int(path.name))
    # when the parent ends, its side of `life` closes, and the kernel kills this process even inside a decoder
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        os.read(life, 1)
        os._exit(0)  # the parent has already ended
    for what in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):  # no files; a core dump would contain images
        resource.setrlimit(what, (0, 0))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _as_number(limit: int) -> float:
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _serve(channel: socket.socket, most: dict[int, int]) -> None:
    """Decode one image. most: the parent's own limits, by resource."""
    number, seconds, memory, count = REQUEST.unpack(_read(channel, REQUEST.size))
    content = _read(channel, count)
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + seconds, most)
    ours = _limit(resource.RLIMIT_AS, _addresses() + memory, most)
    try:
        pixels = np.ascontiguousarray(DECODERS[number].decode(content))
        shape = (*pixels.shape, 0, 0)[:3]
        head = ANSWER_HEADER.pack(PIXELS, pixels.dtype.str.encode(), *shape, pixels.nbytes)
        body = pixels.reshape(-1).data.cast("B")
    except MemoryError:
        head, body = ANSWER_HEADER.pack(TOO_MUCH if ours else LACK, b"", 0, 0, 0, 0), memoryview(b"")
    except Exception as error:
        body = memoryview(reason(error).encode("utf-8", "replace"))
        head = ANSWER_HEADER.pack(REFUSED, b"", 0, 0, 0, len(body))
    channel.sendall(head)
    channel.sendall(body)


def _read(channel: socket.socket, count: int) -> bytes:
    content = channel.recv(count, socket.MSG_WAITALL)
    if len(content) < count:
        os._exit(0)  # the parent closed the connection
    return content


def _addresses() -> int:
    """Return the bytes of memory that this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _limit(what: int, limit: int, most: dict[int, int]) -> bool:
    """Set a limit. False if the parent's limit is lower, which then stays."""
    ours = limit <= _as_number(most[what])
    resource.setrlimit(what, (limit if ours else most[what], resource.getrlimit(what)[1]))
    return ours
