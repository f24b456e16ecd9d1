"""Malformed STOW-RS requests: each is refused with a reason, and nothing of it is stored."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

import pytest

from cxr_infer.node.multipart import parts
from tests.infer.node.archives import HOST, renamed
from tests.infer.node.test_stow_input import (
    BOUNDARY,
    FILE,
    KIND,
    OTHER,
    REFERENCED,
    UID,
    ask,
    listening,
    multipart,
    reasons,
    uids,
)

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"path": "/"}, 404),
        ({"path": "/dicom-web/studies/../../etc/passwd"}, 404),
        ({"path": "/dicom-web/studiesx"}, 404),
        ({"kind": "application/dicom"}, 415),
        ({"kind": 'multipart/related; type="application/dicom"'}, 415),
        ({"kind": 'multipart/related; type="application/dicom+json"; boundary=x'}, 415),
        ({"kind": KIND.replace("?x", "?y")}, 400),
        ({"content": multipart([FILE])[:-30]}, 400),
        ({"kind": "multipart/related; boundary*0*=a; boundary*=b"}, 400),
        ({"kind": "multipart/related; boundary*=utf-8''%E2%82%AC"}, 415),
        ({"Content-Length": 5000 * "9"}, 411),
        ({"content": multipart([])}, 400),
        ({"Transfer-Encoding": "gzip"}, 411),
        ({"method": "GET"}, 405),
    ],
)
def test_an_unacceptable_request_is_refused_with_a_reason(tmp_path: Path, change: dict[str, Any], status: int) -> None:
    with listening(tmp_path) as web:
        found, answer = ask(web, **{"content": multipart([FILE]), **change})
        assert found == status, answer
        assert answer["error"]
        assert web.count == 0


def test_a_contradictory_content_type_does_not_affect_other_parts(tmp_path: Path) -> None:
    with listening(tmp_path) as web:
        odd = multipart([renamed(FILE, "1.2.1")], "a/b; x*0*=a; x*=b; type*0*=a; type*=b").removesuffix(
            f"--{BOUNDARY}--\r\n".encode()
        )
        status, answer = ask(web, odd + multipart([FILE]))
        assert (status, uids(answer, REFERENCED), reasons(answer, OTHER)) == (202, [UID], [0xC000])


def test_a_request_with_two_content_lengths_is_refused(tmp_path: Path) -> None:
    content = multipart([FILE])
    with listening(tmp_path) as web, socket.create_connection((HOST, web.port), timeout=60) as sender:
        lengths = f"Content-Length: {len(content)}\r\nContent-Length: {len(content) + 9}\r\n"
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\n{lengths}\r\n"
        sender.sendall(head.encode() + content)
        sender.shutdown(socket.SHUT_WR)
        assert sender.makefile("rb").readline().split()[1] == b"400"
        assert web.count == 0


def test_content_resembling_a_boundary_is_kept_byte_for_byte() -> None:
    draw = random.Random(5)
    delimiter = b"\r\n--ab-a"
    pieces = [b"\r", b"\n", b"--", b"\r\n", b"\r\n-", b"\r\n--", delimiter[:-1], delimiter[:-2], b"a"]
    for _ in range(300):
        content = b"".join(draw.choices(pieces, k=draw.randint(1, 30)))
        if delimiter in b"\r\n" + content + delimiter[:-1]:
            continue
        body = b"--ab-a\r\nA: b\r\n\r\n" + content + delimiter + b"--\r\n"
        cuts = sorted(draw.sample(range(1, len(body)), 8))
        blocks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert [bytes(part.content) for part in parts(blocks, "ab-a", lambda size: None)] == [content]
