"""The lab's figures for the shipped network, and the gate for a new one: `python -m benchmarks.lab`.

    python -m benchmarks.lab full --store docs/benchmarks/lab.json --page docs/benchmarks/lab.md
    python -m benchmarks.lab --against docs/benchmarks/lab.json --model new/model.onnx

The first command measures a protocol, stores the result and writes its tables into the page. The second measures a
network by the protocol of the stored result; it exits with status 1 and names every point where contrast, d' or lines
are worse beyond the uncertainty of both.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.lab_gate import GUARDED, GateComparison, compare, described
from benchmarks.pages import read_page, write_page
from benchmarks.tables import table
from cxr_infer.cli.exit_status import SOME_FAILED, reports_errors
from cxr_infer.errors import DataError, UsageError
from cxr_infer.files import write_bytes
from cxr_infer.lab.laboratory import LabRequest, asked_for, measure, methods_of
from cxr_infer.lab.methods import NOISY
from cxr_infer.lab.protocol_files import protocol_hash
from cxr_infer.lab.reading import read_off
from cxr_infer.lab.result import LabResult, read_result
from cxr_infer.lab.runner import LabProgress
from cxr_infer.report.terminal import stderr_console

COMMAND = "python -m benchmarks.lab"
WINDOW = "window"
NAMED = 40  # points listed as worse


def to_markdown(result: LabResult) -> str:
    """Return the tables of the page: the summary of the lab's own page."""
    reading, protocol = read_off(result), result.protocol
    parts = [
        f"Protocol `{protocol.name}`, version {protocol.version} (SHA-256 {protocol_hash(protocol)}), seed "
        f"{protocol.seed}.",
        *(f"**{line}**" for line in reading.against),
        "\n".join(f"- {line}" for line in reading.sentences),
    ]
    for one in reading.tables:
        parts += [f"### {one.title}", table(one.headings, one.rows), one.note]
    return "\n\n".join(part.strip() for part in parts if part)


def said_of(compared: GateComparison) -> list[str]:
    """Return the result of the gate, in lines."""
    worse = [f"worse: {described(pair)}" for pair in compared.worse]
    lines = [*worse, *(f"missing: {place}" for place in compared.missing)]
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    same = len(compared.pairs) - len(compared.worse) - len(compared.better)
    counted = f"{len(compared.worse)} worse, {same} the same, {len(compared.better)} better"
    total = f"{len(compared.pairs)} points: {counted}, {len(compared.missing)} missing"
    allowed = f"worse by chance: {compared.by_chance} at most; worse beyond chance: {len(compared.certainly_worse)}"
    return [*lines[:NAMED], *more, total, allowed]


def _asked(protocol: str | None, stored: LabResult | None, model: str) -> LabRequest:
    """Return what to measure: with a stored protocol, only what the gate compares."""
    if stored is None:
        asked = asked_for(protocol or "quick")
        if model == WINDOW:
            return asked
        methods = tuple(model if name == WINDOW else name for name in asked.protocol.methods)
        changed = replace(asked.protocol, methods=methods)
        return replace(asked, protocol=changed, changed=(f"{model} for {WINDOW}",), other_methods=True)
    if protocol is not None and protocol_hash(asked_for(protocol).protocol) != protocol_hash(stored.protocol):
        raise UsageError(f"{protocol}: not the protocol of --against; omit it, or store a result of it first")
    changed = replace(stored.protocol, methods=(NOISY, model), if_installed=())
    only = tuple(name for name in changed.studies if name in GUARDED)
    return LabRequest(changed, "--against", changed=(f"methods: {NOISY}, {model}",), only=only, other_methods=True)


def _say(seen: LabProgress) -> None:
    stderr_console().print(f"{seen.share:.0%} {seen.study} {seen.done}/{seen.units}", markup=False)


app = typer.Typer(add_completion=False)


@app.command()
@reports_errors
def main(
    protocol: Annotated[
        str | None, typer.Argument(help="quick, full or a .toml file. Default: that of --against, else quick.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="Stored result that the network must not be worse than.")] = None,
    model: Annotated[str, typer.Option(help="`window`, or an .onnx file to measure in its place.")] = WINDOW,
    out: Annotated[
        Path | None, typer.Option(help="Directory of intermediate results, to resume an interrupted run.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Where the result goes, such as docs/benchmarks/lab.json.")] = None,
    page: Annotated[Path | None, typer.Option(help="Page whose tables are replaced: docs/benchmarks/lab.md.")] = None,
) -> None:
    """Measure the lab's figures of a network, and compare them with stored ones."""
    text = read_page(page, COMMAND)
    stored = read_result(against) if against is not None else None
    if stored is not None and page is not None:
        raise UsageError("--page needs all methods; omit --against")
    asked = _asked(protocol, stored, model)
    if stored is not None and WINDOW not in stored.protocol.methods:
        raise DataError(f"{against}: no figures of {WINDOW}; measure and store it again")
    with tempfile.TemporaryDirectory() as place:
        result = measure(asked, methods_of(asked), out or Path(place), seen=_say)
    if store is not None:
        write_bytes(store, result.to_json().encode())
    write_page(page, text, to_markdown(result), COMMAND)
    if stored is None:
        print(to_markdown(result))
        return
    compared = compare(stored, result, WINDOW, model)
    print("\n".join(said_of(compared)))
    if not compared.passes:
        raise typer.Exit(SOME_FAILED)


if __name__ == "__main__":
    app()
