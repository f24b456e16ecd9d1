"""Health and metrics: what becomes of a connection that fails."""

from __future__ import annotations

import http.client
import threading
from typing import Any

import pytest

from cxr_infer.node.pages import Pages
from tests.infer.node.archives import HOST


@pytest.mark.parametrize(("error", "told"), [(ConnectionResetError, False), (TimeoutError, False), (KeyError, True)])
def test_only_a_mistake_of_ours_is_a_traceback(
    error: type[Exception], told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def facts() -> dict[str, Any]:
        raise error

    with Pages(0, facts) as pages:
        threading.Thread(target=pages.serve_forever, args=(0.05,), daemon=True).start()
        connection = http.client.HTTPConnection(HOST, pages.server_port, timeout=60)
        connection.request("GET", "/health")
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
        connection.close()
        pages.shutdown()
    assert ("Traceback" in capsys.readouterr().err) == told
