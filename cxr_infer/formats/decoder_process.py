"""Child processes for decoders, so that a crash, hang or lack of memory costs only one image.

A child is forked, which takes a tenth of the time of starting Python and numpy, and kept for the next image. It has
limits on memory, CPU time and files, inherits only two descriptors, and ends with this process. It is not a sandbox:
code that takes it over has the rights of the user. Its answer is not trusted: pixels must have a known type and at most
the declared size.

Linux only: other systems have no fork, or forbid the use of system libraries after it.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.formats.decoder_child import ANSWER_HEADER, LACK, PIXELS, READY, REFUSED, REQUEST, TOO_MUCH, live
from cxr_infer.formats.decoders import DECODERS, MOST_REASON, DecoderLostError, DecodingError, ImageDecoder

if sys.platform == "linux":
    import fcntl

# Several times the needs of today's decoders, which are 4 to 10 bytes per pixel and half a second for 5 megapixels.
SPARE_BYTES, BYTES_A_PIXEL, BYTES_A_BYTE = 128 << 20, 32, 4  # memory: base, per pixel and per compressed byte
SECONDS, SECONDS_A_MEGAPIXEL = 10.0, 2.0  # CPU time
PATIENCE = 6  # wall-clock limit as a multiple of CPU time, for busy machines
READY_SECONDS = 30.0  # wall-clock limit for a new child to report
DYING_SECONDS = 5.0  # wall-clock limit for a child to end after it closed its connection
MOST_CHANNELS = 4

TYPES = (b"|u1", b"|i1", b"<u2", b"<i2", b"<u4", b"<i4", b"<f4")
FORK_WARNING = ".*use of fork.*"  # of Python 3.12 on, in a process of several threads


@dataclass(frozen=True)
class DecodingLimits:
    """Limits for one image. pixels: H x W. seconds: CPU time. memory: bytes for the decoder."""

    pixels: int
    seconds: int
    memory: int

    @staticmethod
    def of(pixels: int, compressed: int) -> DecodingLimits:
        """Derive the limits. compressed: size of the file, bytes."""
        seconds = math.ceil(SECONDS + SECONDS_A_MEGAPIXEL * pixels / 1e6)
        return DecodingLimits(pixels, seconds, SPARE_BYTES + BYTES_A_PIXEL * pixels + BYTES_A_BYTE * compressed)


class _LostError(Exception):
    """A child has ended, or its answer is missing or invalid."""


class _Child:
    """A child process, which decodes one image at a time."""

    def __init__(self) -> None:
        """Start it. Raises OSError if no process can be created, and _LostError if it does not report."""
        # decoders imported later would have to be imported in the child, which is unsafe after a fork
        self._decoders = frozenset(decoder for decoder in DECODERS if decoder.is_loaded())
        self._lock = threading.Lock()
        self._ended = False
        self.channel, theirs = socket.socketpair()
        life, ours = os.pipe()
        self.life = open(ours, "wb", buffering=0)  # noqa: SIM115, PTH123 - closed by its end, which ends the child
        try:
            self.pid = _forked(theirs, life)
        except OSError:
            self.close()
            raise
        finally:
            theirs.close()
            os.close(life)
        _children.add(self)
        try:
            if self._answer(time.monotonic() + READY_SECONDS)[0] != READY:
                raise _LostError
        except BaseException:
            self.end()
            raise

    def can(self, decoder: ImageDecoder) -> bool:
        return decoder in self._decoders

    def decoded(self, decoder: ImageDecoder, content: bytes, limits: DecodingLimits) -> NDArray[Any]:
        """Decode an image. Raises as `decoding.decoded`, and _LostError."""
        deadline = time.monotonic() + PATIENCE * limits.seconds
        request = REQUEST.pack(DECODERS.index(decoder), limits.seconds, limits.memory, len(content))
        for part in (request, content):
            self._send(part, deadline)
        state, name, *shape, count = self._answer(deadline)
        if state == PIXELS:
            return self._pixels(name, [extent for extent in shape if extent], count, limits, deadline)
        if state == TOO_MUCH:
            raise DecoderLostError(f"{decoder.title} needs more than {limits.memory / 1e6:.0f} MB of memory")
        if state == LACK:
            raise MemoryError
        if state == REFUSED and count <= 4 * MOST_REASON:
            raise DecodingError(self._bytes(count, deadline).decode("utf-8", "replace"))
        raise _LostError

    def _pixels(
        self, name: bytes, shape: list[int], count: int, limits: DecodingLimits, deadline: float
    ) -> NDArray[Any]:
        """Read the pixels after an answer, if their type and size are plausible."""
        if name not in TYPES or math.prod(shape) > MOST_CHANNELS * limits.pixels:
            raise _LostError
        pixels = np.empty(shape, name.decode("ascii"))
        if pixels.nbytes != count:
            raise _LostError
        self._receive(pixels.reshape(-1).data.cast("B"), deadline)
        return pixels

    def _send(self, content: bytes, deadline: float) -> None:
        try:
            self.channel.settimeout(_left(deadline))
            self.channel.sendall(content)
        except OSError as error:  # including TimeoutError
            raise _LostError from error

    def _answer(self, deadline: float) -> tuple[Any, ...]:
        return ANSWER_HEADER.unpack(self._bytes(ANSWER_HEADER.size, deadline))

    def _bytes(self, count: int, deadline: float) -> bytes:
        content = bytearray(count)
        self._receive(memoryview(content), deadline)
        return bytes(content)

    def _receive(self, place: memoryview, deadline: float) -> None:
        while place:
            try:
                self.channel.settimeout(_left(deadline))
                count = self.channel.recv_into(place)
            except OSError as error:
                raise _LostError from error
            if count == 0:
                raise _LostError
            place = place[count:]

    def is_waiting(self) -> bool:
        """Whether it is alive and waiting."""
        return self._heard() is None

    def _heard(self) -> bytes | None:
        """Peek at the connection: a byte it sent, b"" if it closed the connection, None if it sent nothing."""
        try:
            self.channel.setblocking(False)
            return self.channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def end(self) -> int | None:
        """End it. Returns its exit code (as subprocess.Popen.returncode) if it had already ended, else None."""
        with self._lock:
            if self._ended:
                return None
            self._ended = True
            code = self._ended_with(DYING_SECONDS if self._heard() == b"" else 0)
            if code is None:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
            self.close()
            _children.discard(self)
            return code

    def _ended_with(self, seconds: float) -> int | None:
        """Return its exit code if it ends within this many seconds, else None."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # other code in this process reaps children
                return None
            if pid or time.monotonic() >= deadline:
                return os.waitstatus_to_exitcode(status) if pid else None
            time.sleep(1e-3)

    def close(self) -> None:
        self.channel.close()
        self.life.close()


_children: set[_Child] = set()
_idle: list[_Child] = []
_unusable = threading.Event()  # set if children fail to start


def is_possible() -> bool:
    return sys.platform == "linux" and hasattr(fcntl, "F_SETSIG") and not _unusable.is_set()


def decoded(decoder: ImageDecoder, content: bytes, pixels: int) -> NDArray[Any]:
    """See `decoding.decoded`. If no child can be started, this process decodes."""
    child = _child_for(decoder)
    if child is None:
        return decoder.decode(content)
    limits = DecodingLimits.of(pixels, len(content))
    try:
        result = child.decoded(decoder, content, limits)
    except (DecodingError, MemoryError):
        _idle.append(child)
        raise
    except _LostError:
        raise DecoderLostError(_why(decoder, child.end(), limits)) from None
    except BaseException:  # DecoderLostError or Ctrl-C
        child.end()
        raise
    _idle.append(child)
    return result


def _why(decoder: ImageDecoder, code: int | None, limits: DecodingLimits) -> str:
    """Say why a child was lost. code: from `_Child.end`."""
    if code is None or code == -signal.SIGXCPU:
        return f"{decoder.title} took more than {limits.seconds} s"
    if code >= 0:
        return f"{decoder.title} ended without a result"
    if code == -signal.SIGKILL:
        return f"{decoder.title} was killed by the system, perhaps out of memory"
    return f"{decoder.title} crashed with {signal.Signals(-code).name}"


def _child_for(decoder: ImageDecoder) -> _Child | None:
    """Return an idle child that has this decoder, or a new one; None if none can be started."""
    with contextlib.suppress(IndexError):
        while True:
            child = _idle.pop()
            if child.can(decoder) and child.is_waiting():
                return child
            child.end()
    try:
        return _Child()
    except OSError:
        return None
    except _LostError:
        _unusable.set()
        return None


def end_all() -> None:
    """End all child processes, busy ones too. The next image starts a new one."""
    _idle.clear()
    for child in list(_children):
        child.end()


@contextlib.contextmanager
def ending_decoders() -> Iterator[None]:
    """End all child processes on exit, even after Ctrl-C."""
    try:
        yield
    finally:
        end_all()


def _forget() -> None:
    """Forget the children after a fork: they belong to the parent."""
    for child in _children:
        child.close()
    _children.clear()
    _idle.clear()


if sys.platform == "linux":
    atexit.register(end_all)
    os.register_at_fork(after_in_child=_forget)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 1e-3)


def _forked(channel: socket.socket, life: int) -> int:
    """Fork a child process and return its id. channel, life: the child's ends of the two connections."""
    if not any(message and message.pattern == FORK_WARNING for _, message, *_ in warnings.filters):
        warnings.filterwarnings("ignore", FORK_WARNING, DeprecationWarning)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            live(channel, life)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
