"""The node with independent programs: DCMTK and Orthanc, by DIMSE and DICOMweb, and systemd for its unit."""

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
    """Run an empty PACS on loopback; yield its DICOM port and its HTTP address."""
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


PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")  # as installed by Debian


@contextmanager
def dicomweb(folder: Path, **more: Any) -> Iterator[str]:
    """Run an empty PACS with DICOMweb on loopback; yield its address."""
    if not PLUGIN.exists():
        pytest.skip(f"{PLUGIN} is not installed: apt-get install orthanc-dicomweb")
    settings = {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full"} | more
    with orthanc(folder, Plugins=[str(PLUGIN)], DicomWeb=settings) as (_, address):
        yield address


def get_json(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.loads(answer.read())


def stored_files(address: str) -> dict[str, bytes]:
    """Return the files of a PACS, by SOPInstanceUID."""
    found = {}
    for instance in get_json(f"{address}/instances"):
        with urllib.request.urlopen(f"{address}/instances/{instance}/file", timeout=30) as answer:
            content = bytes(answer.read())
        found[str(opened(content).SOPInstanceUID)] = content
    return found


def send_by_dcmtk(node: NodeProcess, folder: Path) -> None:
    paths = [folder / f"{index}.dcm" for index in range(len(FILES))]
    for path, content in zip(paths, FILES, strict=True):
        path.write_bytes(content)
    command = [program("storescu"), "-aet", "CR1", "-aec", "CXRINFER", HOST, str(node.port), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    echo = [program("echoscu"), "-aec", "CXRINFER", HOST, str(node.port)]
    assert subprocess.run(echo, capture_output=True, timeout=60).returncode == 0


def assert_complete(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Check that every original is unchanged, every result equals that of `dir` except for times, and nothing else."""
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
            send_by_dcmtk(node, tmp_path)
            until(lambda: node.audit().count('"sent"') == 4, node.audit())
            node.stop()
    found = [path.read_bytes() for path in received.iterdir()]
    assert_complete({str(opened(content).SOPInstanceUID): content for content in found}, expected)
    assert {body(content) for content in FILES} <= {body(content) for content in found}, "byte for byte"


def test_the_node_sends_to_orthanc_with_storage_commitment(tmp_path: Path) -> None:
    """Orthanc reports on a separate association, to the modality that it knows by its AE title."""
    expected = by_dir(tmp_path, FILES)
    port = reserved_port()  # the node's port, which Orthanc must know
    modality = {"node": {"AET": "CXRINFER", "Host": HOST, "Port": port, "AllowStorageCommitment": True}}
    with orthanc(tmp_path / "pacs", DicomModalities=modality) as (dicom, address):  # noqa: SIM117
        with NodeProcess(tmp_path, "--to", f"ORTHANC@{HOST}:{dicom}", listens_at=port) as node:
            send_by_dcmtk(node, tmp_path)
            until(lambda: node.audit().count('"committed"') >= 1, node.audit())
            until(lambda: not list((node.spool / "files").iterdir()), node.audit())
            assert_complete(stored_files(address), expected)
            assert "commitment refused" not in node.audit()
            node.stop()


def test_the_node_sends_to_an_orthanc_that_does_not_know_it(tmp_path: Path) -> None:
    expected = by_dir(tmp_path, FILES)
    with orthanc(tmp_path / "pacs") as (dicom, address):  # noqa: SIM117
        with NodeProcess(tmp_path, "--to", f"ORTHANC@{HOST}:{dicom}") as node:
            send_by_dcmtk(node, tmp_path)
            until(lambda: not list((node.spool / "files").iterdir()) and '"sent"' in node.audit(), node.audit())
            assert_complete(stored_files(address), expected)
            node.stop()


LUA = """
function OnStoredInstance(instanceId, tags, metadata)
  if metadata['RemoteAET'] ~= 'CXRINFER' then
    SendToModality(instanceId, 'cxr-infer')
  end
end
"""


def test_orthanc_can_be_router_and_archive_at_once(tmp_path: Path) -> None:
    """Orthanc forwards images from modalities by a Lua script, as in the guide, without an endless loop."""
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
            until(lambda: len(get_json(f"{address}/instances")) == 4, node.audit())
            until(lambda: not list((node.spool / "files").iterdir()), node.audit())
            assert_complete(stored_files(address), expected)
            node.stop()


def test_the_node_sends_to_orthanc_by_dicomweb(tmp_path: Path) -> None:
    expected = by_dir(tmp_path, FILES)
    with dicomweb(tmp_path / "pacs") as address, NodeProcess(tmp_path, "--to", f"{address}/dicom-web/studies") as node:
        send_by_dcmtk(node, tmp_path)
        until(lambda: node.audit().count('"sent"') == 4, node.audit())
        assert_complete(stored_files(address), expected)
        node.stop()


def test_the_node_receives_from_orthanc_by_dicomweb(tmp_path: Path) -> None:
    """One Orthanc sends with its plugin's client, another receives original and result."""
    expected = by_dir(tmp_path, FILES)
    port = reserved_port()
    config = tmp_path / "node.toml"
    servers = {"node": [f"http://{HOST}:{port}/dicom-web/"]}
    with dicomweb(tmp_path / "sender", Servers=servers) as sender, dicomweb(tmp_path / "pacs") as archive:
        destination = f'[[destination]]\nname = "pacs"\nurl = "{archive}/dicom-web/studies"\n'
        config.write_text(f"[receive.stow]\nport = {port}\n{destination}")
        with NodeProcess(tmp_path, "--config", config) as node:
            for content in FILES:
                post(f"{sender}/instances", content)
            body = json.dumps({"Resources": get_json(f"{sender}/instances"), "Synchronous": True})
            post(f"{sender}/dicom-web/servers/node/stow", body.encode())
            until(lambda: node.audit().count('"sent"') == 4, node.audit())
            assert node.audit().count('"way": "STOW-RS"') == 2
            assert_complete(stored_files(archive), expected)
            node.stop()


def post(address: str, content: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, data=content, method="POST"), timeout=60) as answer:
        return bytes(answer.read())


def test_systemd_knows_every_directive_of_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` warns of unknown directives, and checks that the program exists."""
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
    assert "ProtectHouse" in done.stderr, "unknown directives are reported"
