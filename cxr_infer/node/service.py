"""The whole node: receiver, worker and senders around one spool, until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command
from cxr_infer.node import care
from cxr_infer.node.config import SOFTWARE, Config
from cxr_infer.node.config_file import read_config
from cxr_infer.node.durable import held
from cxr_infer.node.events import Events
from cxr_infer.node.folder import FolderWatch
from cxr_infer.node.intake import Intake
from cxr_infer.node.pages import Pages
from cxr_infer.node.receiving import Receiver
from cxr_infer.node.sending import SECONDS_A_DAY, Sender
from cxr_infer.node.spool import Spool
from cxr_infer.node.work import DenoiseInstance
from cxr_infer.node.worker import Worker

if TYPE_CHECKING:
    from cxr_infer.node.stow_server import StowServer

LOG = logging.getLogger(__name__)

AUDIT = "audit.jsonl"  # in the spool
TICK = 0.2  # s
CARE_EVERY = 30.0  # s
GRACE = 30.0  # s for open associations to end, and as much for the current instance
RESEARCH = "research use only: not for diagnosis or any clinical decision"


class RunningNode:
    """A node at work. Use `running`, then call `tick` repeatedly."""

    def __init__(self, config: Config, denoise: DenoiseInstance, spool: Spool, reload_from: Path | None = None) -> None:
        self.config, self.spool = config, spool
        self.events = Events(config.spool / AUDIT)
        self.reload_wanted = threading.Event()
        self.senders = [Sender(config, each, spool, self.events) for each in config.destinations]
        self.worker = Worker(config, denoise, self.events, self._wake_senders)
        self.rules = config.rules
        intake = Intake(config, spool, self.events, self._arrived, lambda: self.rules)
        self.receiver = Receiver(config, spool, self.events, intake)
        self.stow = None if config.receive.stow is None else _stow_server(config, intake, self.events)
        self.folder: FolderWatch | None = None
        if config.receive.folder is not None:
            self.folder = FolderWatch(config.receive.folder, intake, spool, self.events)
        self.pages: Pages | None = None
        self._reload_from, self._stamp = reload_from, _stamp(reload_from)
        self._cared = time.monotonic()

    def start(self) -> None:
        """Raises UsageError if a port or a certificate cannot be used."""
        loose = care.sweep(self.spool)
        self.events.tell("start", software=SOFTWARE, use=RESEARCH, removed=loose)
        if self.config.node.http_port >= 0:
            self.pages = Pages(self.config.node.http_port, self.facts)
            threading.Thread(target=self.pages.serve_forever, name="pages", daemon=True).start()
        self.receiver.start()
        self.worker.start()
        for sender in self.senders:
            sender.start()
        for way in (self.stow, self.folder):
            if way is not None:
                way.start()

    def tick(self) -> None:
        """Do all pending work once. Raises what keeps the node from working, such as a missing model."""
        self.worker.attend(TICK)
        if self.reload_wanted.is_set() or _stamp(self._reload_from) != self._stamp:
            self.reload_wanted.clear()
            self._reload()
        if time.monotonic() - self._cared > CARE_EVERY:
            self._cared = time.monotonic()
            limits = self.config.limits
            care.expire(self.spool, limits.remember_days * SECONDS_A_DAY, limits.keep_hours * 3600)

    def stop(self) -> None:
        """Accept nothing more, finish and acknowledge what has begun; the rest stays in the spool."""
        self.events.tell("stop")
        if self.folder is not None:
            self.folder.stop()
        self.receiver.stop(GRACE)
        if self.stow is not None:
            self.stow.stop(GRACE)
        if self.folder is not None:
            self.folder.join(GRACE)
        for sender in self.senders:
            sender.stop()
        self.worker.stop(GRACE)
        for sender in self.senders:
            sender.join(GRACE)
        if self.pages is not None:
            self.pages.shutdown()
            self.pages.server_close()
        self.events.tell("stopped")
        self.events.close()

    def facts(self) -> dict[str, Any]:
        """Return what the pages show."""
        destinations = {sender.destination.name: sender.down for sender in self.senders}
        return {
            "healthy": bool(self.worker.model),
            "software": SOFTWARE,
            "use": RESEARCH,
            "model": self.worker.model,
            "destinations": destinations,
            "disk_free_bytes": shutil.disk_usage(self.config.spool).free,
            "denoise_seconds": self.events.seconds,
            "denoised_per_hour": self.events.denoised_per_hour,
            "counters": dict(self.events.counters),
            **care.counts(self.spool),
        }

    def _arrived(self) -> None:
        self.worker.wake()
        self._wake_senders()

    def _wake_senders(self) -> None:
        for sender in self.senders:
            sender.wake.set()

    def _reload(self) -> None:
        """Take the rules from the changed file; a file with mistakes changes nothing."""
        self._stamp = _stamp(self._reload_from)
        if self._reload_from is None:
            return
        try:
            new = read_config(self._reload_from)
            ours = {each.name for each in self.config.destinations}
            unknown = {name for rule in new.rules for name in rule.to} - ours
            if unknown:
                raise UsageError(f"new destination {min(unknown)}; restart the node to use it")
        except UsageError as error:
            self.events.tell("rules kept", reason=str(error))
            LOG.warning("rules unchanged: %s", error)
            return
        self.rules = new.rules
        self.worker.use(new.rules)
        self.events.tell("rules taken", rules=len(new.rules))
        if replace(new, rules=self.config.rules) != self.config:
            LOG.warning("%s: only the rules were reloaded; restart the node for the rest", self._reload_from)


@contextlib.contextmanager
def running(config: Config, denoise: DenoiseInstance, reload_from: Path | None = None) -> Iterator[RunningNode]:
    """Run a node, alone on its spool, until the context ends. Raises UsageError if it cannot start.

    denoise: as `batch.one_file.denoise_one`. reload_from: file whose rules are reloaded when it changes.
    """
    with Spool(config.spool, keeps=config.limits.keep_hours > 0) as spool, held(config.spool, "node"):
        node = RunningNode(config, denoise, spool, reload_from)
        try:
            node.start()
            yield node
        finally:
            node.stop()


def serve(
    config: Config,
    denoise: DenoiseInstance,
    reload_from: Path | None,
    announce: Callable[[RunningNode], None],
    stopped: Callable[[], bool],
) -> None:
    """Run a node until `stopped` returns True. announce: called once the node accepts connections."""
    LOG.warning("%s node, %s", SOFTWARE, RESEARCH)
    with running(config, denoise, reload_from) as node:
        announce(node)
        while not stopped():
            node.tick()


def _stow_server(config: Config, intake: Intake, events: Events) -> StowServer:
    """Raises UsageError if a port, a package, a token or a certificate is missing."""
    stow = config.receive.stow
    assert stow is not None
    try:
        from cxr_infer.node.stow_server import StowServer
    except ImportError as error:
        raise UsageError(f"STOW-RS input needs more packages; run: {install_command('node')}") from error
    return StowServer(config.receive, stow, intake, events.tell)


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size)
