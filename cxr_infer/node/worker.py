"""The node's side of the denoising process: start it, talk to it, restart it when it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from cxr_infer.errors import CxrError
from cxr_infer.node.config import Config, Rule
from cxr_infer.node.events import Events
from cxr_infer.node.work import AuditEvent, DenoiseInstance, Ready, work

AGAIN = 5.0  # minimum s between two starts


class Worker:
    """For use by one thread, which calls `attend` repeatedly."""

    def __init__(self, config: Config, denoise: DenoiseInstance, events: Events, done: Callable[[], None]) -> None:
        self.model = ""  # set once it is loaded
        self._config, self._denoise, self._events, self._done = config, denoise, events, done
        self._rules = config.rules
        self._process: SpawnProcess | None = None
        self._channel: Connection | None = None
        self._bell: socket.socket | None = None
        self._started = 0.0

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        bell, ear = socket.socketpair()
        bell.setblocking(False)
        self._process = context.Process(
            target=work, args=(theirs, ear, self._config, self._denoise), name="denoise", daemon=True
        )
        self._process.start()
        for end in (theirs, ear):  # so that the process notices when this side closes
            end.close()
        self._bell, self._channel, self._started = bell, ours, time.monotonic()
        if self._rules is not self._config.rules:
            self._send(self._rules)

    def attend(self, seconds: float) -> None:
        """Wait that long for news, and report them. Raises what keeps the worker from working, such as ModelError."""
        if self._channel is None or self._process is None:
            time.sleep(seconds)
            if time.monotonic() - self._started > AGAIN:
                self.start()
            return
        try:
            if self._channel.poll(seconds):
                self._heard(self._channel.recv())
        except (EOFError, ConnectionResetError):
            status = self._ended()
            self._events.tell("worker ended", reason=f"exit status {status}; restarting it")

    def _heard(self, message: object) -> None:
        if isinstance(message, CxrError):
            raise message
        if isinstance(message, Ready):
            self.model = f"{message.model}, SHA-256 {message.sha256}"
            self._events.tell("ready", model=message.model, sha256=message.sha256)
        elif isinstance(message, AuditEvent):
            self._events.tell(
                message.event,
                milliseconds=message.milliseconds,
                uid=message.uid,
                rule=message.rule,
                reason=message.reason,
                derived=message.derived_uid,
            )
            self._done()

    def wake(self) -> None:
        """Signal that something has arrived. Callable from any thread; never blocks."""
        with contextlib.suppress(OSError, AttributeError):  # earlier signals are still pending, or there is no process
            self._bell.send(b"!")  # type: ignore[union-attr]

    def use(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._send(rules)

    def stop(self, seconds: float) -> None:
        """Let it finish the current instance; after that time kill it, and the instance is retried at the next
        start.
        """
        end = time.monotonic() + seconds
        self._send(None)
        self.wake()
        while self._channel is not None and (left := end - time.monotonic()) > 0:
            try:
                if self._channel.poll(left):
                    self._heard(self._channel.recv())
            except (EOFError, ConnectionResetError):
                self._ended()
            except CxrError:  # it could not start
                continue
        if self._process is not None:
            self._process.kill()

    def _ended(self) -> int | None:
        """Close everything that belonged to the process; return its exit status."""
        process, channel, bell = self._process, self._channel, self._bell
        self._process = self._channel = self._bell = None
        for each in (channel, bell):
            if each is not None:
                each.close()
        if process is None:
            return None
        process.join(AGAIN)
        return process.exitcode

    def _send(self, message: object) -> None:
        if self._channel is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `attend` reports it
                self._channel.send(message)
