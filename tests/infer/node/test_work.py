"""The denoising process: an instance that crashes it repeatedly is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxr_infer.node import work
from cxr_infer.node.config import Config, Destination, Node
from cxr_infer.node.phantoms import phantom_instance
from cxr_infer.node.records import Arrival
from cxr_infer.node.spool import Spool
from cxr_infer.report.results import FileResult


def never(*_: object, **__: object) -> tuple[bytes | None, FileResult]:
    raise AssertionError("processed once more")


@pytest.mark.parametrize(("pass_", "event"), [("other", "passed"), ("none", "quarantined")])
def test_an_instance_that_keeps_crashing_the_process_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pass_: str, event: str
) -> None:
    config = Config(Node(pass_=pass_), destinations=(Destination("pacs", "x"),))
    uid, content = phantom_instance(1, 64)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt  # not caught, like a kill

    with Spool(tmp_path) as spool:
        spool.add(Arrival(uid, "c", "s"), (content,))
        with monkeypatch.context() as patched:
            patched.setattr(work, "routing_attributes", killed)  # the header alone crashes it
            for _ in range(work.BEGUN):
                begun = spool.begin()
                assert begun is not None
                with pytest.raises(KeyboardInterrupt):
                    work.process(begun, config, spool, never)
            begun = spool.begin()
            assert begun is not None
            outcome = work.process(begun, config, spool, never)
        assert (outcome.event, outcome.uid) == (event, uid)
        assert "crashed the denoising process" in outcome.reason
        assert spool.begin() is None
        assert [each.kind for each in spool.due("pacs", 10)] == (["original"] if event == "passed" else [])
