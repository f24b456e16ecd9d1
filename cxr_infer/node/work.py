"""The denoising process: whatever a file does to it, the node keeps receiving and sending.

It takes received instances from the spool and stores the results of `cxr-infer dir` there. It ends with the node,
however the node ends, because its end of the pipe closes.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from multiprocessing.connection import Connection, wait

from cxr_infer.errors import CxrError
from cxr_infer.files import DISK_FAILURES
from cxr_infer.model.denoiser import load_model
from cxr_infer.node.config import DERIVED, OTHER, Config, Rule
from cxr_infer.node.durable import held
from cxr_infer.node.records import QueuedInstance
from cxr_infer.node.rules import RoutingAttributes, deliveries, routing_attributes, rule_for
from cxr_infer.node.spool import Spool
from cxr_infer.report.results import DONE, FAILED, FileResult
from cxr_infer.settings import ReadOptions, Settings

LOOK_EVERY = 1.0  # s between looks without a signal
BELL = 4096  # bytes to read: all pending signals
ANOTHER = 60.0  # s for the worker of a killed node to end
PAUSE = 10.0  # s before retrying after a full disk or a lack of memory
BEGUN = 3  # attempts per instance; a file that crashes the process each time is then given up


# name, file, model, settings, reading -> content of the result, or None, and its record. Injected, because the node
# does not depend on runs over directories; it must be picklable by name.
DenoiseInstance = Callable[..., tuple[bytes | None, FileResult]]


@dataclass(frozen=True)
class AuditEvent:
    """An entry for the audit. event: `denoised`, `passed`, `quarantined` or `put off`."""

    event: str
    uid: str
    rule: str = ""
    reason: str = ""
    derived_uid: str = ""
    milliseconds: float | None = None


@dataclass(frozen=True)
class Ready:
    """The worker has loaded its model."""

    model: str
    sha256: str


def work(channel: Connection, bell: socket.socket, config: Config, denoise: DenoiseInstance) -> None:
    """Run the denoising process until it is told to end.

    channel: receives new rules, or None to end; sends Ready and AuditEvent. bell: rings when something has arrived.
    denoise: computes the result of a file.
    """
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a terminal sends them to all processes; the node decides when to end
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Spool(config.spool) as spool:
        try:
            with held(config.spool, "worker", ANOTHER):
                node = config.node
                model = load_model(node.model, precision=node.precision, threads=node.threads or None)
                channel.send(Ready(model.title, model.sha256))
                _loop(channel, bell, config, spool, partial(denoise, model=model))
        except CxrError as error:
            channel.send(error)


def _loop(channel: Connection, bell: socket.socket, config: Config, spool: Spool, denoise: DenoiseInstance) -> None:
    rules = config.rules
    while True:
        while channel.poll():
            message = channel.recv()
            if message is None:
                return
            if isinstance(message, tuple):
                rules = message
        taken = spool.begin()
        if taken is None:
            if bell in wait((channel, bell), LOOK_EVERY):
                bell.recv(BELL)
        else:
            channel.send(process(taken, replace(config, rules=rules), spool, denoise))


def process(work: QueuedInstance, config: Config, spool: Spool, denoise: DenoiseInstance) -> AuditEvent:
    """Denoise one instance, or pass it on, as the rules say."""
    # even reading the header may crash this process
    facts = routing_attributes(work.path, work.called, work.calling) if work.attempts <= BEGUN else RoutingAttributes()
    rule = rule_for(config.rules, facts)
    content, result = _result(work, config, rule, denoise)
    reason = _without_path(work, result.message)
    if result.status == FAILED and result.traceback is not None and work.attempts < BEGUN:
        spool.put_off(work, reason, PAUSE)
        return AuditEvent("put off", work.uid, rule.name, reason)
    if content is None and config.node.pass_ != OTHER and rule.denoise:
        spool.quarantine(work, reason)
        return AuditEvent("quarantined", work.uid, rule.name, reason)
    made = None if content is None else (_instance_uid(content), content)
    try:
        spool.denoised(work, made, deliveries(config, rule, has_result=made is not None), reason)
    except OSError as error:
        if error.errno not in DISK_FAILURES:
            raise
        reason = str(error.strerror or errno.errorcode.get(error.errno or 0, ""))
        spool.put_off(work, reason, PAUSE, counts=False)
        return AuditEvent("put off", work.uid, rule.name, reason)
    if made is None:
        return AuditEvent("passed", work.uid, rule.name, reason)
    return AuditEvent("denoised", work.uid, rule.name, reason, made[0], result.milliseconds)


def settings_of(config: Config, rule: Rule) -> tuple[Settings, ReadOptions]:
    """Return the settings for instances of a rule: those of `cxr-infer dir` with the same options."""
    node = config.node
    settings = Settings(rule.strength, memory=node.memory, compress=node.compress)
    return settings, ReadOptions(node.max_pixels)


def _result(
    work: QueuedInstance, config: Config, rule: Rule, denoise: DenoiseInstance
) -> tuple[bytes | None, FileResult]:
    """Return the derived instance and its record; None, with the reason, if there is nothing to send."""
    if not rule.denoise or DERIVED not in rule.send:
        return None, FileResult(work.uid, DONE, f"{rule.name}: passed through")
    if work.attempts > BEGUN:
        return None, FileResult(work.uid, FAILED, f"crashed the denoising process {BEGUN} times")
    settings, reading = settings_of(config, rule)
    content, result = denoise(work.uid, work.path, settings=settings, reading=reading)
    if content is None:
        return None, result
    if (result.mottle_before or 0.0) < rule.noise_above:
        found = 0.0 if result.mottle_before is None else result.mottle_before
        return None, replace(result, message=f"{rule.name}: noise {found:.2f} is not above {rule.noise_above:g}")
    return content, result


def _without_path(work: QueuedInstance, message: str) -> str:
    return message.replace(f"{work.path}: ", "").replace(str(work.path), work.uid)


def _instance_uid(content: bytes) -> str:
    from pydicom.filereader import read_partial

    meta = read_partial(BytesIO(content), stop_when=lambda *_: True).file_meta
    return str(meta.MediaStorageSOPInstanceUID)
