"""The command `node`: a DICOM node between modality and PACS, and its administration."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxr_infer.cli.exit_status import reports_errors
from cxr_infer.cli.options import complete_model
from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command
from cxr_infer.report.text import number_of_files

if TYPE_CHECKING:
    from cxr_infer.node.config import Config
    from cxr_infer.node.demo import Way
    from cxr_infer.node.service import RunningNode

Action = Literal["run", "status", "retry", "purge", "check", "demo"]
Pass = Literal["other", "none"]
REQUIRED_PACKAGES = ("pydicom", "pynetdicom")


@reports_errors
def node_command(
    action: Annotated[
        Action,
        typer.Argument(
            metavar="ACTION",
            help="run: receive, denoise, forward. status: show the spool. retry: retry failed instances. purge: remove "
            "failed instances by UID, or forget sent ones. check: show what the rules would do with files. demo: run a "
            "sender of phantoms, a node and an archive on this machine.",
        ),
    ],
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ITEM ...", help="UIDs for retry and purge; files or directories for check."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file with the configuration of the node.")
    ] = None,
    spool: Annotated[
        Path | None, typer.Option(help="Directory of the queue. Default: from --config, or cxr-infer-spool.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="AE@HOST:PORT",
            help="Additional destination, or the URL of a DICOMweb store. May be repeated.",
        ),
    ] = None,
    ae_title: Annotated[str | None, typer.Option("--ae", help="AE title of the node. Default: CXRINFER.")] = None,
    bind: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for any free port. Default: 11112.")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Loopback port of /health and /metrics; -1 for none. Default: 11180.")
    ] = None,
    passing: Annotated[
        Pass | None,
        typer.Option(
            "--pass", help="Objects that are not denoised: other forwards them unchanged, none refuses or keeps them."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="As for dir. Default: window.", autocompletion=complete_model),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: status, retry, purge, check and demo.")] = False,
) -> None:
    """Run a DICOM node between modality and PACS: receive, denoise, forward. Research use only."""
    if any(find_spec(package) is None for package in REQUIRED_PACKAGES):
        raise UsageError(f"the node needs more packages; run: {install_command('node')}")
    given = _Given(config_file, spool, to or [], ae_title, bind, port, http_port, passing, model)
    if action == "demo":
        _demo(as_json)
    elif action == "run":
        _run(given)
    elif action == "check":
        _check(given, items or [], as_json)
    else:
        _on_spool(given, action, items or [], as_json)


class _Given:
    """Configuration from the command line; None for options not given."""

    def __init__(
        self,
        file: Path | None,
        spool: Path | None,
        to: list[str],
        ae_title: str | None,
        address: str | None,
        port: int | None,
        http_port: int | None,
        pass_: str | None,
        model: str | None,
    ) -> None:
        self.file, self.to = file, to
        self.node: dict[str, Any] = {"spool": None if spool is None else str(spool), "http_port": http_port}
        self.node |= {"pass_": pass_, "model": model}
        self.receive: dict[str, Any] = {"ae_title": ae_title, "address": address, "port": port}

    def config(self, *, needs_destination: bool = True) -> Config:
        """Return the configuration file with the command line applied. Raises UsageError."""
        from cxr_infer.node.config import Config, destination_of
        from cxr_infer.node.config_checks import checked
        from cxr_infer.node.config_file import read_config

        config = Config() if self.file is None else read_config(self.file)
        config = replace(
            config,
            node=replace(config.node, **{key: value for key, value in self.node.items() if value is not None}),
            receive=replace(config.receive, **{key: value for key, value in self.receive.items() if value is not None}),
            destinations=(*config.destinations, *map(destination_of, self.to)),
        )
        return checked(config) if needs_destination else config


def _run(given: _Given) -> None:
    from cxr_infer.batch.one_file import denoise_one
    from cxr_infer.cli.process import stop_on_signals
    from cxr_infer.node.service import RESEARCH, serve
    from cxr_infer.report import terminal

    config = given.config()
    if config.receive.open_to_anybody:
        terminal.print_note("note: anyone who can reach the port can send; set addresses, calling or [receive.tls]")

    def announce(node: RunningNode) -> None:
        reload = signal.SIGHUP if hasattr(signal, "SIGHUP") else None
        if reload is not None:
            signal.signal(reload, lambda *_: node.reload_wanted.set())
        names = ", ".join(each.name for each in config.destinations)
        place = f"{config.receive.address}:{node.receiver.port}"
        terminal.print_line(f"{config.receive.ae_title} at {place}, for {names}; spool {config.spool}; {RESEARCH}")
        if node.pages is not None:
            terminal.print_line(f"http://127.0.0.1:{node.pages.server_port}/health and /metrics")
        if node.stow is not None:
            terminal.print_line(f"STOW-RS at {node.stow.address}")
        if config.receive.folder is not None:
            terminal.print_line(f"watching {config.receive.folder.path}")
        sys.stdout.flush()  # readers of a pipe wait for it

    with stop_on_signals() as stopped:
        serve(config, denoise_one, given.file, announce, stopped)
    terminal.print_line("stopped; unsent instances stay in the spool")


def _on_spool(given: _Given, action: str, uids: list[str], as_json: bool) -> None:
    from cxr_infer.node import care
    from cxr_infer.node.spool import Spool
    from cxr_infer.report import terminal

    config = given.config(needs_destination=False)
    if not (config.spool / "queue.sqlite").is_file():
        raise UsageError(f"{config.spool}: is not the spool of a node; give --spool or --config")
    with Spool(config.spool) as spool:
        if action == "status":
            found = {"problems": care.problems(spool), "not_taken": care.not_taken(spool)}
            _status({**care.counts(spool), **found}, as_json)
            return
        count = care.retry(spool, uids) if action == "retry" else care.purge(spool, uids)
    if as_json:
        _print_json({action: count})
    else:
        terminal.print_line(f"{count} instances {'will be retried' if action == 'retry' else 'removed'}")


def _status(found: dict[str, object], as_json: bool) -> None:
    from cxr_infer.report import terminal

    if as_json:
        _print_json(found)
        return
    states, waiting, problems, files = (found[key] for key in ("instances", "waiting", "problems", "not_taken"))
    assert isinstance(states, dict)
    assert isinstance(waiting, dict)
    assert isinstance(problems, list)
    assert isinstance(files, list)
    terminal.print_line(", ".join(f"{count} {state}" for state, count in states.items()))
    for name, count in waiting.items():
        terminal.print_line(f"{number_of_files(count)} waiting for {name}")
    if problems:
        keys = ("uid", "state", "destination", "attempts", "reason")
        rows = [[str(problem[key]) for key in keys] for problem in problems]
        terminal.print_table("not sent", keys, rows, names=("uid", "reason"))
    if files:
        rows = [[each["file"], each["reason"]] for each in files]
        terminal.print_table("not taken from the folder", ("file", "reason"), rows, names=("file", "reason"))


def _check(given: _Given, paths: list[str], as_json: bool) -> None:
    from cxr_infer.node.dry_run import planned
    from cxr_infer.report import terminal

    if not paths:
        raise UsageError("check needs files or directories; give at least one path")
    found = planned(given.config(), [Path(path) for path in paths])
    if as_json:
        _print_json([plan.to_dict() for plan in found])
        return
    rows = [[p.name, p.rule, p.action, ", ".join(f"{kind} to {name}" for kind, name in p.deliveries)] for p in found]
    terminal.print_table("planned actions", ("file", "rule", "action", "destinations"), rows, names=("file",))


def _demo(as_json: bool) -> None:
    from cxr_infer.batch.one_file import denoise_one
    from cxr_infer.node.demo import demonstrate
    from cxr_infer.node.service import RESEARCH
    from cxr_infer.report import terminal

    with _quiet_library():
        ways = demonstrate(denoise_one, terminal.print_note)
    rows = [_times(way) for way in ways]
    if as_json:
        _print_json([dict(zip(DEMO_KEYS, row, strict=True)) for row in rows])
        return
    shown = [[str(uid), *(f"{seconds:.2f}" for seconds in times), str(derived)] for uid, *times, derived in rows]
    headings = ("instance", "acknowledged s", "original s", "derived s", "derived instance")
    terminal.print_table("seconds since each was sent", headings, shown, names=("instance", "derived instance"))
    terminal.print_line(f"every original and every derived instance arrived; {RESEARCH}")


DEMO_KEYS = ("uid", "acknowledged", "original", "derived", "derived_uid")


def _times(way: Way) -> list[str | float]:
    assert way.original is not None
    assert way.derived is not None
    times = (when - way.sent for when in (way.acknowledged, way.original, way.derived))
    return [way.uid, *(round(seconds, 3) for seconds in times), way.derived_uid]


def _print_json(found: object) -> None:
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


@contextlib.contextmanager
def _quiet_library() -> Iterator[None]:
    """Silence pynetdicom, which logs connections that end."""
    logger = logging.getLogger("pynetdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
