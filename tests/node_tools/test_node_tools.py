"""The node between other people's programs: DCMTK's and Orthanc, by DIMSE and DICOMweb, and systemd's view of it."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cxr_infer.node.phantoms import phantom_instance
from tests.conftest import REPOSITORY
from tests.infer.node.archives import HOST, NodeProcess, body, opened, renamed, timeless, until
from tests.infer.node.test_node import by_dir
from tests.ports import reserved_port
from tests.programs import program, server

pytestmark = [pytest.mark.tools, pytest.mark.slow]

FILES = [renamed(phantom_instance(1, 64)[1], f"1.2.{number}") for number in range(2)]


@contextmanager
def orthanc(folder: Path, **more: Any) -> Iterator[tuple[int, str]]:
    """An empty PACS on loopback: its DICOM port and its address for HTTP."""
    folder.mkdir()
    dicom, http = reserved_port(), reserved_port()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [],
        "DicomPort": dicom,
        "HttpPort": http,
        "HttpBindAddresses": [HOST],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
    } | more
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with server(http, "Orthanc", folder / "orthanc.json"):
        yield dicom, f"http://{HOST}:{http}"


PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")  # where Debian has it


@contextmanager
def dicomweb(folder: Path, **more: Any) -> Iterator[str]:
    """An empty PACS with DICOMweb on loopback: its address."""
    if not PLUGIN.exists():
        pytest.skip(f"{PLUGIN} is not installed: apt-get install orthanc-dicomweb")
    settings = {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full"} | more
    with orthanc(folder, Plugins=[str(PLUGIN)], DicomWeb=settings) as (_, address):
        yield address


def looked_up(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.loads(answer.read())


def kept(address: str) -> dict[str, bytes]:
    """The files of a PACS, by SOPInstanceUID."""
    found = {}
    for instance in looked_up(f"{address}/instances"):
        with urllib.request.urlopen(f"{address}/instances/{instance}/file", timeout=30) as answer:
            content = bytes(answer.read())
        found[str(opened(content).SOPInstanceUID)] = content
    return found


def sent_by_dcmtk(node: NodeProcess, folder: Path) -> None:
    paths = [folder / f"{index}.dcm" for index in range(len(FILES))]
    for path, content in zip(paths, FILES, strict=True):
        path.write_bytes(content)
    command = [program("storescu"), "-aet", "CR1", "-aec", "CXRINFER", HOST, str(node.port), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    echo = [program("echoscu"), "-aec", "CXRINFER", HOST, str(node.port)]
    assert subprocess.run(echo, capture_output=True, timeout=60).returncode == 0


def assert_complete(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Every original as it was, and every result as `dir` makes it but for times; nothing else."""
    assert set(found) == {*expected, *(str(opened(content).SOPInstanceUID) for content in FILES)}
    for content in FILES:
        assert opened(found[str(opened(content).SOPInstanceUID)]) == opened(content)
    for uid, content in expected.items():
        assert timeless(found[uid]) == timeless(content)


def test_the_node_forwards_from_storescu_to_storescp(tmp_path: Path) -> None:
    expected = by_dir(tmp_path, FILES)
    port, received = reserved_port(), tmp_path / "received"
    received.mkdir()
    with server(port, "storescp", "--bit-preserving", "--output-directory", received, port):  # noqa: SIM117
        with NodeProcess(tmp_path, "--to", f"STORESCP@{HOST}:{port}") as node:
            sent_by_dcmtk(node, tmp_path)
            until(lambda: node.audit().count('"sent"') == 4, node.audit())
            node.stop()
    found = [path.read_bytes() for path in received.iterdir()]
    assert_complete({str(opened(content).SOPInstanceUID): content for content in found}, expected)
    assert {body(content) for content in FILES} <= {body(content) for content in found}, "byte for byte"


def test_the_node_sends_to_orthanc_with_storage_commitment(tmp_path: Path) -> None:
    """Orthanc reports on an association of its own, to the modality that it knows by the AE title."""
    expected = by_dir(tmp_path, FILES)
    port = reserved_port()  # of the node, which Orthanc must know
    modality = {"node": {"AET": "CXRINFER", "Host": HOST, "Port": port, "AllowStorageCommitment": True}}
    with orthanc(tmp_path / "pacs", DicomModalities=modality) as (dicom, address):  # noqa: SIM117
        with NodeProcess(tmp_path, "--to", f"ORTHANC@{HOST}:{dicom}", listens_at=port) as node:
            sent_by_dcmtk(node, tmp_path)
            until(lambda: node.audit().count('"committed"') >= 1, node.audit())
            until(lambda: not list((node.spool / "files").iterdir()), node.audit())
            assert_complete(kept(address), expected)
            assert "commitment refused" not in node.audit()
            node.stop()


def test_the_node_sends_to_an_orthanc_that_does_not_know_it(tmp_path: Path) -> None:
    expected = by_dir(tmp_path, FILES)
    with orthanc(tmp_path / "pacs") as (dicom, address):  # noqa: SIM117
        with NodeProcess(tmp_path, "--to", f"ORTHANC@{HOST}:{dicom}") as node:
            sent_by_dcmtk(node, tmp_path)
            until(lambda: not list((node.spool / "files").iterdir()) and '"sent"' in node.audit(), node.audit())
            assert_complete(kept(address), expected)
            node.stop()


LUA = """
function OnStoredInstance(instanceId, tags, metadata)
  if metadata['RemoteAET'] ~= 'CXRINFER' then
    SendToModality(instanceId, 'cxr-infer')
  end
end
"""


def test_orthanc_can_be_router_and_archive_at_once(tmp_path: Path) -> None:
    """It forwards what comes from modalities by Lua, as in the guide; a loop that ends."""
    expected = by_dir(tmp_path, FILES)
    port = reserved_port()
    (tmp_path / "route.lua").write_text(LUA)
    modality = {"cxr-infer": {"AET": "CXRINFER", "Host": HOST, "Port": port, "AllowStorageCommitment": True}}
    more = {"DicomModalities": modality, "LuaScripts": [str(tmp_path / "route.lua")]}
    with orthanc(tmp_path / "pacs", **more) as (dicom, address):  # noqa: SIM117
        with NodeProcess(tmp_path, "--to", f"ORTHANC@{HOST}:{dicom}", listens_at=port) as node:
            for content in FILES:
                request = urllib.request.Request(f"{address}/instances", data=content, method="POST")
                urllib.request.urlopen(request, timeout=30).close()
            until(lambda: len(looked_up(f"{address}/instances")) == 4, node.audit())
            until(lambda: not list((node.spool / "files").iterdir()), node.audit())
            assert_complete(kept(address), expected)
            node.stop()


def test_the_node_sends_to_orthanc_by_dicomweb(tmp_path: Path) -> None:
    expected = by_dir(tmp_path, FILES)
    with dicomweb(tmp_path / "pacs") as address, NodeProcess(tmp_path, "--to", f"{address}/dicom-web/studies") as node:
        sent_by_dcmtk(node, tmp_path)
        until(lambda: node.audit().count('"sent"') == 4, node.audit())
        assert_complete(kept(address), expected)
        node.stop()


def test_the_node_receives_from_orthanc_by_dicomweb(tmp_path: Path) -> None:
    """One Orthanc sends by its plugin's client, another takes original and result."""
    expected = by_dir(tmp_path, FILES)
    port = reserved_port()
    config = tmp_path / "node.toml"
    servers = {"node": [f"http://{HOST}:{port}/dicom-web/"]}
    with dicomweb(tmp_path / "sender", Servers=servers) as sender, dicomweb(tmp_path / "pacs") as archive:
        destination = f'[[destination]]\nname = "pacs"\nurl = "{archive}/dicom-web/studies"\n'
        config.write_text(f"[receive.stow]\nport = {port}\n{destination}")
        with NodeProcess(tmp_path, "--config", config) as node:
            for content in FILES:
                asked(f"{sender}/instances", content)
            body = json.dumps({"Resources": looked_up(f"{sender}/instances"), "Synchronous": True})
            asked(f"{sender}/dicom-web/servers/node/stow", body.encode())
            until(lambda: node.audit().count('"sent"') == 4, node.audit())
            assert node.audit().count('"way": "STOW-RS"') == 2
            assert_complete(kept(archive), expected)
            node.stop()


def asked(address: str, content: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, data=content, method="POST"), timeout=60) as answer:
        return bytes(answer.read())


def test_systemd_knows_every_directive_of_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` warns of what it does not know, and checks that the program is there."""
    guide = (REPOSITORY / "docs" / "guide" / "node.md").read_text()
    text = guide.split("```ini\n")[1].split("```")[0]
    installed = "/opt/cxr-infer/bin/cxr-infer"
    assert installed in text
    unit = tmp_path / "cxr-infer.service"
    unit.write_text(text.replace(installed, "/bin/true"))
    command = [program("systemd-analyze"), "verify", "--recursive-errors=no", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert not ours, ours
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "ProtectHouse" in done.stderr, "it does look at them"
