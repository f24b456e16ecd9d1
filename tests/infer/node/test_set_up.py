"""Node set-up: the TOML file, rules, command-line checks and the dry run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from cxr_infer.cli.node_command import DEMO_KEYS
from cxr_infer.errors import UsageError
from cxr_infer.node import care
from cxr_infer.node.config import Config, Destination, Node, Rule, destination_of
from cxr_infer.node.config_checks import checked
from cxr_infer.node.config_file import read_config
from cxr_infer.node.dicom_file import file_head
from cxr_infer.node.dry_run import Planned
from cxr_infer.node.events import Events
from cxr_infer.node.phantoms import phantom_instance
from cxr_infer.node.records import Arrival
from cxr_infer.node.rules import RoutingAttributes, at_once, deliveries, rule_for
from cxr_infer.node.service import RunningNode
from cxr_infer.node.spool import Spool
from tests.conftest import REPOSITORY, Run
from tests.infer.node.archives import HOST

PACS = '[[destination]]\nname = "pacs"\nhost = "10.0.0.5"\n'
CHEST = RoutingAttributes("CR", "CHEST", "PA", "Maker Inc.", "CXRINFER", "CR1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no destination; add"),
        ("[", "not valid TOML"),
        (PACS + "[nod]\n", r"unknown table \[nod\]"),
        (PACS + "[node]\nmodle = 'window'\n", "unknown key modle"),
        (PACS + "[node]\nthreads = 'two'\n", "must be a whole number"),
        (PACS + "[node]\npass = 'some'\n", "pass must be"),
        (PACS + "[receive]\nport = 99999\n", "port must be"),
        (PACS + "[receive]\naddresses = ['hospital']\n", "is not an address"),
        (PACS + "[receive]\nae_title = 'MUCH TOO LONG A TITLE'\n", "is not an AE title"),
        (PACS + "[receive.tls]\nca = 'x'\n", "lacks cert"),
        (PACS + "[receive.tls]\ncert = 'x'\n", "lacks ca"),
        (PACS + "[receive.stow]\naddress = '0.0.0.0'\n", "must be loopback"),
        (PACS + "[receive.stow]\npath = 'dicom-web'\n", "path must look like /dicom-web"),
        (PACS + "[receive.stow]\nport = 99999\n", "port must be"),
        (PACS + "[receive.stow.tls]\nca = 'x'\n", "lacks cert"),
        (PACS + "[receive.folder]\n", "lacks path"),
        (PACS + "[receive.folder]\npath = 'in'\nmove_to = 'in/done'\n", "outside the watched folder"),
        (PACS + "[receive.folder]\npath = '.'\n", "spool cxr-infer-spool must be outside"),
        (PACS + "[limits]\nattempts = -1\n", "attempts must be a number, 0 or more"),
        (PACS + "[limits]\nlongest_wait = inf\n", "longest_wait must be"),
        (PACS + "[limits]\nspool_gb = 1" + 400 * "0" + "\n", "spool_gb must be 2147483647 or less"),
        (PACS + "x = " + 20_000 * "[" + 20_000 * "]", "nested too deep"),
        (PACS + "[node]\nspool = ''\n", "spool is empty"),
        (PACS + '[node]\nspool = "a\\u0000"\n', "spool contains a NUL"),
        (PACS + "[node]\nthreads = -1\n", "threads must be"),
        (PACS + "[node]\nmemory = 0\n", "memory and max_pixels must be"),
        (PACS + '[receive.folder]\npath = "a\\u0000"\n', "path contains a NUL"),
        (PACS + "[receive.folder]\npath = ''\n", "path is empty"),
        (PACS + "[receive]\ntimeout = 1000000\n", "timeout must be"),
        (PACS + "[receive]\nassociations = 1000000\n", "associations must be"),
        (PACS + "timeout = 0\n", "timeout must be"),
        (PACS + "[[rule]]\nnoise_above = nan\n", "noise_above must be"),
        ("[[destination]]\nname = ' '\nhost = 'x'\n", "name is empty"),
        ("[[destination]]\nname = 'web'\nurl = 'http://[::1'\n", "invalid url"),
        ("[[destination]]\nname = 'web'\nurl = 'http://pacs:99999/'\n", "invalid url"),
        ("[[destination]]\nname = 'web'\nurl = 'http://pacs/a b'\n", "without spaces"),
        (PACS + PACS, "two destinations"),
        (PACS + "url = 'http://x/'\n", "either host or url"),
        ("[[destination]]\nname = 'web'\nurl = 'http://pacs/studies'\ntoken_env = 'T'\n", "requires https://"),
        ("[[destination]]\nname = 'web'\nurl = 'https://me:secret@pacs/'\n", "must not hold a password"),
        (PACS + "[[rule]]\nto = ['elsewhere']\n", "no destination is called 'elsewhere'"),
        (PACS + "[[rule]]\nstrength = 2\n", "outside 0..1"),
        (PACS + "[[rule]]\nsend = ['copy']\n", "send must list original, derived"),
        (PACS + "[rule]\nname = 'x'\n", r"write \[\[rule\]\]"),
    ],
)  # fmt: skip
def test_configuration_errors_name_the_file_and_the_problem(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as refused:
        read_config(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "secret" not in str(refused.value)


def test_the_configuration_in_the_guide_has_the_defaults(tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs" / "guide" / "node.md").read_text()
    path = tmp_path / "node.toml"
    path.write_text(guide.split("```toml\n")[1].split("```")[0])
    config = read_config(path)
    assert config.limits == Config().limits
    assert config.receive.max_pdu == Config().receive.max_pdu
    assert [rule.name for rule in config.rules] == ["chest", "all others"]


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({}, True),
        ({"modality": ("DX", "CR")}, True),
        ({"modality": ("DX",)}, False),
        ({"body_part": ("chest",), "view": ("P*",)}, True),
        ({"body_part": ("CHEST",), "view": ("LL",)}, False),
        ({"manufacturer": ("maker*",)}, True),
        ({"calling": ("CR1",), "called": ("CXRINFER",)}, True),
        ({"body_part": ("",)}, False),
    ],
)
def test_a_rule_matches_if_all_its_conditions_do(rule: dict[str, Any], matches: bool) -> None:
    assert (rule_for([Rule("it", **rule)], CHEST).name == "it") == matches


def test_the_first_rule_applies_and_a_missing_result_sends_the_original() -> None:
    config = checked(Config(destinations=(Destination("a", "x"), Destination("b", "y"))))
    rule = rule_for([Rule("no", modality=("DX",)), Rule("yes"), Rule("late")], CHEST)
    assert rule.name == "yes"
    both = [("original", "a"), ("original", "b"), ("derived", "a"), ("derived", "b")]
    assert deliveries(config, rule, has_result=True) == both
    alone = Rule("alone", send=("derived",), to=("b",))
    assert deliveries(config, alone, has_result=True) == [("derived", "b")]
    assert deliveries(config, alone, has_result=False) == [("original", "b")]


def test_an_original_is_sent_at_once_if_every_outcome_sends_it() -> None:
    config = checked(Config(destinations=(Destination("a", "x"),)))
    ahead = [("original", "a")]
    assert at_once(config, Rule()) == ahead
    assert at_once(config, Rule(denoise=False, send=("derived",))) == ahead
    assert at_once(config, Rule(send=("derived",))) == []
    assert at_once(replace(config, node=Node(pass_="none")), Rule()) == [], "it may turn out to be quarantined"


def test_command_line_destinations_are_parsed() -> None:
    assert destination_of("PACS@10.0.0.5:104") == Destination("PACS", "10.0.0.5", 104, "PACS")
    assert destination_of("PACS@[::1]:104").host == "::1"
    for wrong in ("PACS", "10.0.0.5:104", "PACS@host", "PACS@host:x", "@:"):
        with pytest.raises(UsageError, match="AE@HOST:PORT"):
            destination_of(wrong)


def check(run: Run, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run("cxr-infer", "node", "check", "--to", "PACS@10.0.0.5:104", *arguments)


def test_a_port_in_use_is_reported_in_one_line(run: Run) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        done = run("cxr-infer", "node", "run", "--to", "PACS@10.0.0.5:104", "--port", port, "--http-port", "-1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"{port}: cannot listen" in done.stderr


def test_a_dry_run_reports_the_plan_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "good.dcm").write_bytes(phantom_instance(1, 64)[1])
    (tmp_path / "x" / "cut.dcm").write_bytes(phantom_instance(1, 64)[1][:-3000])
    (tmp_path / "x" / "notes.txt").write_text("no image")
    done = check(run, "x", "--json")
    assert done.returncode == 0, done.stderr
    found = {Path(plan["name"]).name: plan for plan in json.loads(done.stdout)}
    assert {name: plan["action"] for name, plan in found.items()} == {"good.dcm": "denoise", "cut.dcm": "pass"}
    assert found["good.dcm"]["deliveries"] == [["original", "PACS"], ["derived", "PACS"]]
    assert found["cut.dcm"]["deliveries"] == [["original", "PACS"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
    quiet = tmp_path / "quiet.toml"
    quiet.write_text(PACS + "[[rule]]\nname = 'loud only'\nnoise_above = 250.0\n")
    done = run("cxr-infer", "node", "check", "--config", quiet, "x/good.dcm")
    assert "loud only" in done.stdout
    assert "pass" in done.stdout


@pytest.mark.parametrize(("arguments", "message"), [
    (("status",), "is not the spool of"), (("check", "--to", "A@b:1"), "needs files"), (("run",), "no destination"),
    (("check", "nowhere", "--to", "A@b:1"), "no such file"),
    (("run", "--to", "A@b:1", "--model", "nonsense"), "nonsense"),
])  # fmt: skip
def test_wrong_usage_is_reported_in_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run("cxr-infer", "node", *arguments, *(["--port", "0", "--http-port", "-1"] if "run" in arguments else []))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="FIFOs")
def test_a_fifo_is_refused_without_waiting(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(UsageError, match=r"^\S+x\.toml: is a FIFO, not a file; move it elsewhere$"):
        read_config(tmp_path / "x.toml")
    os.mkfifo(tmp_path / "x.dcm")
    done = check(run, tmp_path / "x.dcm")
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}/x.dcm: is a FIFO, not a file; move it elsewhere\n")


def test_the_guide_documents_every_json_key(tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs" / "guide" / "node.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in guide.splitlines() if line.startswith("| `")}
    arrival = Arrival("1.2.3", ComputedRadiographyImageStorage, ExplicitVRLittleEndian)
    with Spool(tmp_path) as spool:
        spool.add(arrival, (file_head(arrival), b""))
        work = spool.begin()
        assert work is not None
        spool.quarantine(work, "no image")
        (problem,), counts = care.problems(spool), care.counts(spool)
        config, worker = Config(node=Node(spool=str(tmp_path))), SimpleNamespace(model="")
        node = SimpleNamespace(senders=[], worker=worker, events=Events(None), spool=spool, config=config)
        health = RunningNode.facts(node)  # type: ignore[arg-type]
    for where, keys in {
        "`status --json`": (*counts, "problems", *problem, "not_taken", "file"),
        "`check --json`": [field.name for field in fields(Planned)],
        "`demo --json`": DEMO_KEYS,
        "`/health`": set(health) - set(counts),
    }.items():
        assert {key for key in keys if f"`{key}`" not in rows[where]} == set(), where
