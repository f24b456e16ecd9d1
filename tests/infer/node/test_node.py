"""The node as a real process between senders and archives, including kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage

from cxr_infer.node.phantoms import phantom_instance
from tests.conftest import COMMAND, tree
from tests.infer.node.archives import (
    HOST,
    PATIENCE,
    Archive,
    NodeProcess,
    background,
    body,
    opened,
    renamed,
    send,
    timeless,
    until,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",  # from an archive that stops during a call
    "ignore::ResourceWarning",
)

KILLS = int(os.environ.get("CXR_NODE_KILLS", "3"))  # use 20 for a thorough run; each kill adds ten instances
FAST = "[limits]\nretry_seconds = 0.2\nlongest_wait = 1.0\nreserve_mb = 0\n"
FILE = phantom_instance(1, 64)[1]
CT = renamed(FILE, "1.2.99", CTImageStorage)


def configured(folder: Path, archive: Archive, *tables: str) -> Path:
    destination = f'[[destination]]\nname = "pacs"\nhost = "{HOST}"\nport = {archive.port}\nae_title = "ARCHIVE"\n'
    path = folder / "node.toml"
    path.write_text("\n".join((FAST, destination, *tables)))
    return path


def by_dir(folder: Path, files: list[bytes]) -> dict[str, bytes]:
    """Return the results of `cxr-infer dir` for these files, by SOPInstanceUID."""
    (folder / "in").mkdir()
    for index, content in enumerate(files):
        (folder / "in" / f"{index}.dcm").write_bytes(content)
    subprocess.run([*COMMAND, "dir", folder / "in", "--quiet"], check=True, capture_output=True)
    return {str(opened(content).SOPInstanceUID): content for content in tree(folder / "in-denoised").values()}


def node_command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "node", *map(str, arguments), "--spool", str(folder / "spool")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def metrics(node: NodeProcess) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{node.http_port}/metrics") as answer:
        return str(answer.read().decode())


@pytest.mark.slow
def test_originals_and_results_arrive_and_the_spool_is_emptied(tmp_path: Path) -> None:
    files = [renamed(FILE, f"1.2.{number}") for number in range(2)]
    expected = by_dir(tmp_path, files)
    with Archive() as archive, NodeProcess(tmp_path, "--config", configured(tmp_path, archive)) as node:
        assert send(node.port, [*files, CT, files[0]]) == [0, 0, 0, 0]
        until(lambda: len(archive.files) == 5, node.audit())
        for content in (*files, CT):
            uid = str(opened(content).SOPInstanceUID)
            assert body(archive.files[uid]) == body(content), "the original is untouched"
        for uid, content in expected.items():
            assert timeless(archive.files[uid]) == timeless(content), "the same as from dir, except for times"
        # a result that returns, as in a loop of routers, is forwarded once and not denoised again
        result = archive.files[next(iter(expected))]
        assert send(node.port, [result]) == [0]
        until(lambda: archive.times[str(opened(result).SOPInstanceUID)] == 2)
        until(lambda: 'instances{state="sent"} 4' in metrics(node), metrics(node))
        assert set(archive.files) == {*expected, "1.2.0", "1.2.1", "1.2.99"}
        with urllib.request.urlopen(f"http://{HOST}:{node.http_port}/health") as answer:
            assert "research use only" in json.loads(answer.read())["use"]
        status, errors = node.stop()
        assert status == 0, errors
        assert not list((node.spool / "files").iterdir())
        lines = [json.loads(line) for line in node.audit().splitlines()]
        assert [line["event"] for line in lines].count("duplicate") == 1
        assert [line["event"] for line in lines].count("denoised") == 2
        assert "Phantom^Chest" not in node.audit() + errors


@pytest.mark.slow
def test_an_unavailable_destination_is_retried_until_it_returns(tmp_path: Path) -> None:
    archive = Archive()
    archive.start()
    config = configured(tmp_path, archive)
    archive.stop()
    with NodeProcess(tmp_path, "--config", config) as node:
        assert send(node.port, [FILE]) == [0]
        until(lambda: '"down"' in node.audit())
        status = json.loads(node_command(tmp_path, "status", "--json").stdout)
        assert status["instances"]["sent"] == 0
        archive.start()
        until(lambda: len(archive.files) == 2)
        archive.stop()
        node.stop()


@pytest.mark.slow
def test_refused_instances_are_quarantined_and_can_be_retried(tmp_path: Path) -> None:
    archive = Archive(status=0xC000)
    with archive, NodeProcess(tmp_path, "--config", configured(tmp_path, archive)) as node:
        assert send(node.port, [FILE]) == [0]
        until(lambda: node.audit().count('"quarantined"') == 2)
        shown = node_command(tmp_path, "status").stdout
        assert "1 failed" in shown
        assert "0xC000" in shown
        archive.status = 0
        assert json.loads(node_command(tmp_path, "retry", "--json").stdout) == {"retry": 1}
        until(lambda: len(archive.files) == 2)
        node.stop()


@pytest.mark.slow
def test_rules_apply_and_are_reloaded_when_changed(tmp_path: Path) -> None:
    rules = '[[rule]]\nname = "{}"\nmodality = "CR"\nbody_part = "CHEST*"\ndenoise = {}\n'
    with Archive() as archive:
        config = configured(tmp_path, archive, rules.format("first", "false"))
        with NodeProcess(tmp_path, "--config", config) as node:
            assert send(node.port, [FILE]) == [0]
            until(lambda: '"sent"' in node.audit())
            assert len(archive.files) == 1
            configured(tmp_path, archive, "[[rule]]\nnonsense = 1\n")
            until(lambda: "rules kept" in node.audit())
            configured(tmp_path, archive, rules.format("second", "true"))
            until(lambda: "rules taken" in node.audit())
            assert send(node.port, [renamed(FILE, "1.2.5")]) == [0]
            until(lambda: len(archive.files) == 3)
            node.stop()


@pytest.mark.slow
def test_hostile_content_is_passed_on_and_others_are_processed(tmp_path: Path) -> None:
    truncated = renamed(FILE, "1.2.7")[:-5000]
    lying = renamed(FILE, "1.2.8", Rows=60000, PatientName="Doe^John")
    with Archive() as archive, NodeProcess(tmp_path, "--config", configured(tmp_path, archive)) as node:
        assert send(node.port, [FILE]) == [0]
        for content in (truncated, lying):
            assert send(node.port, [content]) == [0]
        until(lambda: {"1.2.7", "1.2.8"} <= set(archive.files), node.audit())
        until(lambda: len(archive.files) == 4)
        _, errors = node.stop()
        assert "Doe" not in node.audit() + errors
        assert node.audit().count('"passed"') == 2
    for uid, content in (("1.2.7", truncated), ("1.2.8", lying)):
        as_sent = renamed(content, uid)  # the sender encodes what could be read of it
        assert body(archive.files[uid]) == body(as_sent)


@pytest.mark.slow
def test_instances_that_fail_are_quarantined_if_none_are_passed_on(tmp_path: Path) -> None:
    with (
        Archive() as archive,
        NodeProcess(tmp_path, "--config", configured(tmp_path, archive), "--pass", "none") as node,
    ):
        assert send(node.port, [renamed(FILE, "1.2.7")[:-5000]]) == [0]
        until(lambda: "quarantined" in node.audit())
        node.stop()
    assert not archive.files
    problems = json.loads(node_command(tmp_path, "status", "--json").stdout)["problems"]
    assert [problem["uid"] for problem in problems] == ["1.2.7"]
    assert json.loads(node_command(tmp_path, "purge", "1.2.7", "--json").stdout) == {"purge": 1}
    assert not list((tmp_path / "spool" / "files").iterdir())


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_duplicate_nothing(tmp_path: Path) -> None:
    """Two senders, a destination that comes and goes, and a node that is killed repeatedly."""
    files = [renamed(FILE, f"1.2.{number}") for number in range(8 * KILLS)]
    files += [renamed(CT, f"1.3.{number}") for number in range(2 * KILLS)]
    expected = by_dir(tmp_path, files[: 8 * KILLS])
    chance, archive = random.Random(4), Archive()
    archive.start()
    node = NodeProcess(tmp_path, "--config", configured(tmp_path, archive))
    node.start()
    waiting = {0: files[::2], 1: files[1::2]}

    def sender(which: int) -> Callable[[], None]:
        def work() -> None:
            while waiting[which]:
                statuses = send(node.port, waiting[which][:5], calling=f"SENDER{which}")
                taken = {content for content, status in zip(waiting[which], statuses, strict=False) if status == 0}
                waiting[which] = [content for content in waiting[which] if content not in taken]
                time.sleep(0.1)

        return work

    with background(sender(0)), background(sender(1)):
        for turn in range(KILLS):
            time.sleep(chance.uniform(0.2, 2.0))
            if turn % 2:
                archive.stop()
            node.kill()
            node.start()
            if turn % 2:
                archive.start()
        until(lambda: not any(waiting.values()), seconds=PATIENCE * KILLS)
    expected_uids = {*expected, *(str(opened(content).SOPInstanceUID) for content in files)}
    until(
        lambda: set(archive.files) == expected_uids, f"{len(archive.files)} of {len(expected_uids)}", PATIENCE * KILLS
    )
    until(lambda: f'instances{{state="sent"}} {len(files)}' in metrics(node), metrics(node))
    node.stop()
    archive.stop()
    for content in files:
        assert body(archive.files[str(opened(content).SOPInstanceUID)]) == body(content)
    for uid, content in expected.items():
        assert timeless(archive.files[uid]) == timeless(content)
    assert not list((node.spool / "files").iterdir())


@pytest.mark.slow
def test_a_second_node_on_a_spool_is_refused_in_one_line(tmp_path: Path) -> None:
    with Archive() as archive, NodeProcess(tmp_path, "--config", configured(tmp_path, archive)) as node:
        to = f"ARCHIVE@{HOST}:{archive.port}"
        done = node_command(tmp_path, "run", "--to", to, "--port", "0", "--http-port", "-1")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "in use by another node" in done.stderr
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        assert send(node.port, [FILE]) == [0], "SIGHUP reloads the rules and does not end the node"
        node.stop()


@pytest.mark.slow
def test_a_watched_folder_is_emptied_once_despite_kills(tmp_path: Path) -> None:
    files = {f"1.2.{number}": renamed(FILE, f"1.2.{number}") for number in range(6)}
    (tmp_path / "drop" / "ward").mkdir(parents=True)
    folder = '[receive.folder]\npath = "drop"\nmove_to = "done"\n'
    with Archive() as archive, NodeProcess(tmp_path, "--config", configured(tmp_path, archive, folder)) as node:
        for uid, content in files.items():
            (tmp_path / "drop" / "ward" / f"{uid}.dcm").write_bytes(content)
        for _ in range(3):
            time.sleep(random.Random(7).uniform(0.5, 3.0))
            node.kill()
            node.start()
        until(lambda: len(list((tmp_path / "done" / "ward").glob("*"))) == 6, node.audit())
        until(lambda: len(archive.files) == 12, node.audit())
        (tmp_path / "drop" / "notes.dcm").write_text("no DICOM")
        until(lambda: json.loads(node_command(tmp_path, "status", "--json").stdout)["not_taken"])
        shown = node_command(tmp_path, "status").stdout
        assert "notes.dcm" in shown
        assert "not a DICOM file" in shown
        assert node.stop()[0] == 0
        assert "notes" not in node.audit()
    for uid, content in files.items():
        assert body(archive.files[uid]) == body(content)
        assert (tmp_path / "done" / "ward" / f"{uid}.dcm").read_bytes() == content
    assert not list((tmp_path / "drop" / "ward").iterdir())


@pytest.mark.slow
def test_unknown_paths_of_the_health_server_give_404(tmp_path: Path) -> None:
    with Archive() as archive, NodeProcess(tmp_path, "--config", configured(tmp_path, archive)) as node:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{HOST}:{node.http_port}/../../etc/passwd")
        assert refused.value.code == 404
        node.stop()
